"""Whom observers tell of assets, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Outbox", "Webhook"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that config.yaml wants to be told of assets.

    Parameters
    ----------
    url : str
        Where to post; it may hold a secret, so it belongs into no log.
    events : tuple of str
        ``ingested``, ``annotated`` or both.
    steps : tuple of str
        Of which steps; empty: of all.
    """

    url: str = field(repr=False)
    events: tuple[str, ...]
    steps: tuple[str, ...] = ()

    def wants(self, event: str, step: str | None = None) -> bool:
        return event in self.events and (step is None or not self.steps or step in self.steps)


class Outbox(Protocol):
    """An observer's way to tell programs elsewhere: what it hands over is posted until it arrives."""

    @property
    def webhooks(self) -> Sequence[Webhook]:
        """What config.yaml lists under ``webhooks``."""
        ...

    def about(self, asset_id: int, step: str) -> Mapping[str, Any] | None:
        """Return what a step says of an asset now, and its path, as JSON can hold it; None: it is gone.

        Raises
        ------
        CatalogError
            The catalog refused; CatalogBusy, retryable, where it only does not answer.
        """
        ...

    def deliver(self, url: str, body: Mapping[str, Any], *, asset_id: int | None = None) -> None:
        """Have a body posted as JSON, signed, at least once; return at once.

        With ``asset_id`` it is erased together with that asset.

        Raises
        ------
        FetchRefused
            Nothing will ever be posted to this URL. Not retryable.
        CatalogError
            Nothing can be handed over here. Not retryable.
        """
        ...
