"""A loaded plugin, one that did not load, and the guard around its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from enrich.errors import EnrichError, PluginFailed
from enrich.hookspecs import WORK_HOOKS
from enrich.host.complaints import said

__all__ = ["Failure", "Plugin", "guarded"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin; ``hooks`` are the names of the hooks it implements (not wraps), sorted."""

    name: str
    origin: str
    distribution: str | None
    version: str | None
    hooks: tuple[str, ...]
    module: Any = field(repr=False)

    @property
    def work_hooks(self) -> tuple[str, ...]:
        return tuple(hook for hook in self.hooks if hook in WORK_HOOKS)

    @property
    def revision(self) -> str:
        return str(getattr(self.module, "revision", "1"))


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that did not load, and the one line that says what to mend."""

    name: str
    origin: str
    distribution: str | None
    version: str | None
    error: str


def guarded(plugin: Plugin, call: Callable[..., Any], /, **arguments: Any) -> Any:
    """Run a plugin's code; whatever it raises comes out as an EnrichError."""
    try:
        return call(**arguments)
    except EnrichError:
        raise
    # Catching whatever a plugin raises is the host's work; SystemExit included.
    except (Exception, SystemExit) as error:
        passing = isinstance(error, (OSError, MemoryError))
        raise PluginFailed(f"plugin {plugin.name} raised {said(error)}", retryable=passing) from error
