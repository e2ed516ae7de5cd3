"""A step of config.yaml, bound to its plugin, hook, options and model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic

from enrich.errors import ConfigError
from enrich.host.plugin import Plugin, guarded
from enrich.types import ModelHandle, Question

if TYPE_CHECKING:
    from enrich.settings import Step

__all__ = ["BoundStep", "Generator", "bind"]

#: The longest edge of a rendition for plugins that do not say what they want.
DEFAULT_SIZE_PX = 768


@dataclass(frozen=True, slots=True)
class Generator:
    """What makes annotations, as the key by which they are fresh or stale."""

    hook: str
    plugin: str
    plugin_revision: str
    model: str
    model_revision: str
    options: Mapping[str, Any]

    @property
    def options_digest(self) -> str:
        """SHA-256 of the options as canonical JSON, in hex."""
        text = json.dumps(self.options, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class BoundStep:
    """A step of config.yaml with everything it needs to run."""

    name: str
    plugin: Plugin
    hook: str
    generator: Generator
    options: Any
    model: ModelHandle | None
    questions: tuple[Question, ...]
    all_pages: bool
    size_px: int
    priority: int
    deadline_seconds: float | None


def bind(name: str, step: Step, plugin: Plugin, open_model: Callable[[str], ModelHandle] | None) -> BoundStep:
    """Check a step against its plugin and find everything it needs.

    Raises
    ------
    ModelMissing, ExtraMissing
        Its model, or a package of its plugin, is not there. Not retryable.
    ConfigError
        The hook is missing or wrong, an option is, or a model is needed. Not retryable.
    PluginFailed
        The plugin's ``Options`` or ``requires`` raised.
    """
    hook = _choose_hook(name, step, plugin)
    options = guarded(plugin, _check_options, name=name, step=step, plugin=plugin)
    if getattr(plugin.module, "needs_model", False) and step.model is None:
        raise ConfigError(
            f"steps.{name}.model: the plugin {plugin.name} needs a model; `enrich models list` names them"
        )
    requires = getattr(plugin.module, "requires", None)
    if callable(requires):
        guarded(plugin, requires)
    model = open_model(step.model) if step.model and open_model else None
    return BoundStep(
        name=name,
        plugin=plugin,
        hook=hook,
        generator=Generator(
            hook,
            plugin.name,
            plugin.revision,
            step.model or "",
            model.revision if model else "",
            options.model_dump(mode="json") if isinstance(options, pydantic.BaseModel) else {},
        ),
        options=options,
        model=model,
        questions=(),
        all_pages=step.pages == "all",
        size_px=step.size_px or int(getattr(plugin.module, "size_px", DEFAULT_SIZE_PX)),
        priority=step.priority,
        deadline_seconds=step.deadline_seconds,
    )


def _choose_hook(name: str, step: Step, plugin: Plugin) -> str:
    hooks = plugin.work_hooks
    if step.hook is not None:
        hook = step.hook if step.hook.startswith("enrich_") else f"enrich_{step.hook}"
        if hook not in hooks:
            raise ConfigError(
                f"steps.{name}.hook: {plugin.name} has no {hook}; it has: {', '.join(hooks) or 'none'}"
            )
        return hook
    if len(hooks) == 1:
        return hooks[0]
    if not hooks:
        raise ConfigError(f"steps.{name}.plugin: {plugin.name} has no work hook, so it cannot be a step")
    raise ConfigError(f"steps.{name}: {plugin.name} has several hooks; say hook: {' or hook: '.join(hooks)}")


def _check_options(name: str, step: Step, plugin: Plugin) -> Any:
    model = getattr(plugin.module, "Options", None)
    if model is None:
        if step.options:
            key = next(iter(step.options))
            raise ConfigError(f"steps.{name}.{key}: unknown key; the plugin {plugin.name} has no options")
        return {}
    known = {field.alias or name for name, field in model.model_fields.items()}
    if model.model_config.get("extra") != "allow" and (unknown := sorted(set(step.options) - known)):
        raise ConfigError(
            f"steps.{name}.{unknown[0]}: unknown key; {plugin.name} has: {', '.join(sorted(known)) or 'none'}"
        )
    try:
        return model.model_validate(step.options)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"steps.{name}.{key}: {first['msg']}") from error
