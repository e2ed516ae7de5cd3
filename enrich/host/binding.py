"""A step of config.yaml, bound to its plugin, hook, options and model."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

from enrich.errors import ConfigError, InferenceError, ManifestError, ModelMissing, ProviderError, UsageError
from enrich.host.plugin import Plugin, guarded
from enrich.modelname import ModelName
from enrich.prompts import PromptTemplate
from enrich.questions import questions_of
from enrich.types import ModelHandle, Question

if TYPE_CHECKING:
    from enrich.settings import Step

__all__ = ["BoundStep", "Generator", "bind"]

#: The longest edge of a rendition for plugins that do not say what they want.
DEFAULT_SIZE_PX = 768

#: These say nothing that a placeholder could be filled with.
_WORDLESS = ("enrich_data", "enrich_embed")

_Part = TypeVar("_Part")


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
    """A step of config.yaml with everything it needs to run.

    ``items`` are the generators of its questions, by their names: an answer has its own, so that
    whoever edits a question makes no other answer stale. The questions' texts may have placeholders.
    ``models`` are those that its options name, by these names.
    """

    name: str
    plugin: Plugin
    hook: str
    generator: Generator
    items: Mapping[str, Generator]
    options: Any
    model: ModelHandle | None
    models: Mapping[str, ModelHandle]
    questions: tuple[Question, ...]
    all_pages: bool
    size_px: int
    priority: int
    deadline_seconds: float | None


def bind(
    name: str,
    step: Step,
    plugin: Plugin,
    open_model: Callable[[str], ModelHandle] | None,
    earlier: Sequence[BoundStep] = (),
    *,
    hook: str | None = None,
) -> BoundStep:
    """Check a step against its plugin and find everything it needs; ``earlier`` are the steps before it.

    With ``hook`` it is bound to that one, which need not be a work hook.

    Raises
    ------
    ModelMissing, ExtraMissing, ProviderError
        Its model, a package of its plugin, or the device is not there. Not retryable.
    ConfigError
        The hook is missing or wrong, an option or a placeholder is, a model is needed, or is broken, or
        cannot do what the options ask of it. Not retryable.
    PluginFailed
        The plugin's ``Options``, ``requires`` or ``check`` raised.
    """
    hook = hook or _choose_hook(name, step, plugin)
    options = guarded(plugin, _check_options, name=name, step=step, plugin=plugin)
    _check_needs(name, step, plugin)
    _check_placeholders(name, options, earlier)
    model = _open_model(f"{name}.model", step.model, open_model) if step.model and open_model else None
    models = {
        str(one): _open_model(f"{name}.{'.'.join(key)}", one, open_model)
        for key, one in _parts(options, (), ModelName)
        if open_model
    }
    _check_together(name, plugin, options, model, models)
    generator = _generator(hook, plugin, step, options, model, models)
    questions = questions_of(options) if hook == "enrich_answer" else ()
    return BoundStep(
        name=name,
        plugin=plugin,
        hook=hook,
        generator=generator,
        items={question.name: _of_item(generator, question.name) for question in questions},
        options=options,
        model=model,
        models=models,
        questions=questions,
        all_pages=step.pages == "all",
        size_px=step.size_px or _size_px(plugin, model),
        priority=step.priority,
        deadline_seconds=step.deadline_seconds,
    )


def _check_needs(name: str, step: Step, plugin: Plugin) -> None:
    """Let the plugin say what it cannot work without."""
    if getattr(plugin.module, "needs_model", False) and step.model is None:
        raise ConfigError(
            f"steps.{name}.model: the plugin {plugin.name} needs a model; `enrich models list` names them"
        )
    requires = getattr(plugin.module, "requires", None)
    if callable(requires):
        guarded(plugin, requires)


def _open_model(key: str, model: str, open_model: Callable[[str], ModelHandle]) -> ModelHandle:
    try:
        return open_model(model)
    except (ModelMissing, ProviderError) as error:
        raise type(error)(f"steps.{key}: {error}") from error
    except (ManifestError, InferenceError) as error:
        raise ConfigError(f"steps.{key}: {error}") from error


def _size_px(plugin: Plugin, model: ModelHandle | None) -> int:
    """Return what the plugin wants, or the model makes use of, where that is more."""
    # Other people's handles need not say it.
    used: int | None = getattr(model, "size_px", None)
    return max(int(getattr(plugin.module, "size_px", DEFAULT_SIZE_PX)), used or 0)


def _generator(
    hook: str,
    plugin: Plugin,
    step: Step,
    options: Any,
    model: ModelHandle | None,
    models: Mapping[str, ModelHandle],
) -> Generator:
    has_options = isinstance(options, pydantic.BaseModel)
    return Generator(
        hook,
        plugin.name,
        plugin.revision,
        # Whatever it was called by: the same model makes the same annotations.
        model.name if model else step.model or "",
        model.revision if model else "",
        options.model_dump(mode="json", context={"models": models}) if has_options else {},
    )


def _of_item(generator: Generator, item: str) -> Generator:
    """Return the generator of one question's answers: the step's, without the other questions."""
    options = {key: value for key, value in generator.options.items() if key != "questions"}
    return dataclasses.replace(
        generator, options={**options, "question": generator.options["questions"][item]}
    )


def _check_placeholders(name: str, options: Any, earlier: Sequence[BoundStep]) -> None:
    known = {
        step.name: None if step.hook in _WORDLESS else [question.name for question in step.questions]
        for step in earlier
    }
    for key, template in _parts(options, (), PromptTemplate):
        try:
            template.check(known)
        except ValueError as error:
            raise ConfigError(f"steps.{name}.{'.'.join(key)}: {error}") from error


def _parts(value: Any, key: tuple[str, ...], kind: type[_Part]) -> Iterator[tuple[tuple[str, ...], _Part]]:
    """Yield what is of one kind among a plugin's options, with the keys that lead to it."""
    if isinstance(value, kind):
        yield key, value
    elif isinstance(value, pydantic.BaseModel):
        for part in type(value).model_fields:
            yield from _parts(getattr(value, part), (*key, part), kind)
    elif isinstance(value, Mapping):
        for part, inner in value.items():
            yield from _parts(inner, (*key, str(part)), kind)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _parts(inner, (*key, str(index)), kind)


def _check_together(
    name: str, plugin: Plugin, options: Any, model: ModelHandle | None, models: Mapping[str, ModelHandle]
) -> None:
    """Let the plugin say whether the models can do what the options ask of them."""
    check = getattr(plugin.module, "check", None)
    if not callable(check):
        return
    offered: dict[str, Any] = {"options": options, "model": model}
    if "models" in guarded(plugin, functools.partial(inspect.signature, check)).parameters:
        offered["models"] = models
    try:
        guarded(plugin, check, **offered)
    except UsageError as error:
        raise ConfigError(f"steps.{name}: {error}") from error


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
        return model.model_validate(step.options, context={"folder": step.folder})
    except pydantic.ValidationError as error:
        raise ConfigError(f"steps.{name}{_mend(error)}") from error


def _mend(error: pydantic.ValidationError) -> str:
    """Return the first complaint behind its key; an unknown key is why another one may be missing."""
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    message = {"extra_forbidden": "unknown key", "missing": "it must be given"}.get(
        first["type"], first["msg"].removeprefix("Value error, ")
    )
    return "".join(f".{part}" for part in first["loc"]) + f": {message}"
