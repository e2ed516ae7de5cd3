"""Filters: what looks at pictures and prompts before any model of a step does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from enrich.errors import ConfigError, EnrichError, PluginContract, PluginMissing
from enrich.host.binding import BoundStep, bind
from enrich.types import Context, ModelHandle, Rendition, Skip

if TYPE_CHECKING:
    from enrich.host.host import Host
    from enrich.settings import Step

__all__ = ["HOOK", "Filters"]

HOOK = "enrich_moderate"

#: A reason is a word of its own in the catalog, and not a text.
_MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """All filters, in the order they are asked; without any, everything passes."""

    host: Host | None = None
    bound: tuple[BoundStep, ...] = ()

    @classmethod
    def bind(
        cls,
        host: Host,
        configured: Mapping[str, Step],
        open_model: Callable[[str], ModelHandle] | None,
    ) -> Filters:
        """Return those of config.yaml, and every other plugin with the hook that needs no model.

        Raises
        ------
        PluginMissing
            There is no such plugin. Not retryable.
        ModelMissing, ExtraMissing, ConfigError, PluginFailed
            As ``binding.bind`` says.
        """
        from enrich.settings import Step

        entries = dict(configured)
        named = {step.plugin for step in configured.values()}
        for name in host.implementing(HOOK):
            if name not in named and not getattr(host.plugins[name].module, "needs_model", False):
                entries.setdefault(name, Step(plugin=name))
        return cls(host, tuple(_bind(host, name, step, open_model) for name, step in entries.items()))

    def look(
        self, renditions: Sequence[Rendition], prompt: str | None = None, *, deadline: float | None = None
    ) -> list[Skip | EnrichError | None]:
        """Return, per rendition, why it must not be described, or that a filter failed; else None."""
        found: list[Skip | EnrichError | None] = [None] * len(renditions)
        for one in self.bound:
            open_indexes = [index for index, outcome in enumerate(found) if outcome is None]
            outcomes = self._ask(one, [renditions[index] for index in open_indexes], prompt, deadline)
            for index, outcome in zip(open_indexes, outcomes, strict=True):
                found[index] = outcome
        return found

    def _ask(
        self, one: BoundStep, renditions: Sequence[Rendition], prompt: str | None, deadline: float | None
    ) -> list[Skip | EnrichError | None]:
        """Ask one filter; where a batch fails, each alone, so a rendition suffers only from itself."""
        if not renditions:
            return []
        try:
            return [_read(one, said) for said in self._call(one, renditions, prompt, deadline)]
        except EnrichError as error:
            if len(renditions) == 1:
                return [error]
        return [outcome for each in renditions for outcome in self._ask(one, [each], prompt, deadline)]

    def _call(
        self, one: BoundStep, renditions: Sequence[Rendition], prompt: str | None, deadline: float | None
    ) -> list[Any]:
        assert self.host is not None  # without a host nothing is bound
        if deadline is None and one.deadline_seconds is not None:
            deadline = time.monotonic() + one.deadline_seconds
        context = Context(
            step=one.name,
            options=one.options,
            model=one.model,
            annotations=[()] * len(renditions),
            language=None,
            length=None,
            deadline=deadline,
            log=logging.getLogger(f"enrich.filter.{one.name}"),
            models=one.models,
        )
        return self.host.call(one.plugin, HOOK, renditions=renditions, prompt=prompt, context=context)


def _bind(host: Host, name: str, step: Step, open_model: Callable[[str], ModelHandle] | None) -> BoundStep:
    plugin = host.plugins.get(step.plugin)
    if plugin is None:
        raise PluginMissing(
            f"filters.{name}.plugin: no plugin {step.plugin}; `enrich plugins list` names them"
        )
    if HOOK not in plugin.hooks:
        able = ", ".join(host.implementing(HOOK)) or "none"
        raise ConfigError(f"filters.{name}.plugin: {step.plugin} is no filter; there are: {able}")
    try:
        return bind(name, step, plugin, open_model, hook=HOOK)
    except ConfigError as error:
        # What binds steps says so in its messages.
        raise ConfigError(str(error).replace(f"steps.{name}", f"filters.{name}", 1)) from error


def _read(one: BoundStep, said: Any) -> Skip | None:
    if said is None:
        return None
    reason = said.reason if isinstance(said, Skip) else said
    if not isinstance(reason, str) or not reason.strip() or len(reason) > _MAX_REASON:
        raise PluginContract(
            f"plugin {one.plugin.name}: {HOOK} returned {type(said).__name__} where a short reason or None "
            "was expected"
        )
    return Skip(reason)
