"""Tells plugins what happened, after the commit: each in a thread of its own.

An observer that is slow, hangs or raises delays no work and no other observer. What it cannot take
in time is dropped, with a word: the catalog has it all.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from enrich.errors import CatalogError

if TYPE_CHECKING:
    from enrich.host import Host
    from enrich.types import Outbox, Webhook

__all__ = ["Observers"]

log = logging.getLogger(__name__)

#: What waits for one observer at most.
MAX_WAITING = 10_000


class Observers:
    """The observer hooks of all plugins.

    Parameters
    ----------
    host : Host
        Knows the plugins.
    outbox : Outbox or None
        What every observer may hand deliveries over to; None: they cannot.
    """

    def __init__(self, host: Host, outbox: Outbox | None = None) -> None:
        self._host = host
        self._outbox = outbox or _NoOutbox()
        self._observers: dict[str, _Observer] = {}

    def of(self, hook: str, *names: str) -> Callable[..., None]:
        """Return a callback that takes the hook's arguments, by position, and returns at once."""
        observers = [self._observer(plugin) for plugin in self._host.implementing(hook)]

        def tell(*facts: Any) -> None:
            for observer in observers:
                observer.put(hook, {**dict(zip(names, facts, strict=True)), "outbox": self._outbox})

        return tell

    def close(self, within_seconds: float) -> None:
        """Let the observers take what waits for them, for so long in all."""
        end = time.monotonic() + within_seconds
        for observer in self._observers.values():
            observer.close(max(0.0, end - time.monotonic()))

    def _observer(self, plugin: str) -> _Observer:
        if plugin not in self._observers:
            self._observers[plugin] = _Observer(self._host, plugin)
        return self._observers[plugin]


class _NoOutbox:
    """Takes nothing, where there is nothing that deliveries could be kept in."""

    webhooks: tuple[Webhook, ...] = ()

    def about(self, asset_id: int, step: str) -> None:
        return None

    def deliver(self, url: str, body: Mapping[str, Any], *, asset_id: int | None = None) -> None:
        raise CatalogError("there is no catalog to keep a delivery in")


class _Observer:
    """One plugin's queue and thread."""

    def __init__(self, host: Host, plugin: str) -> None:
        self._host = host
        self._plugin = plugin
        self._waiting: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(MAX_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"observer {plugin}", daemon=True)
        self._thread.start()

    def put(self, hook: str, facts: dict[str, Any]) -> None:
        try:
            self._waiting.put_nowait((hook, facts))
        except queue.Full:
            self._dropped += 1
            if self._dropped == 1:
                log.warning(
                    "plugin %s does not keep up with %s; it is no longer told all", self._plugin, hook
                )

    def close(self, within_seconds: float) -> None:
        with contextlib.suppress(queue.Full):  # it hangs; what waits for it is counted below
            self._waiting.put(None, timeout=within_seconds)
        self._thread.join(within_seconds)
        left = self._waiting.qsize() + self._dropped
        if left:
            log.warning("plugin %s was not told of %d events", self._plugin, left)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            hook, facts = item
            self._host.tell(self._plugin, hook, **facts)
