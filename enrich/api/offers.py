"""What can be asked for: the models of the store by their names, and the steps that requests make up."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich.api.errors import Internal, InvalidParameter, UnknownModel
from enrich.api.kinds import TEXT_READER, Plan
from enrich.errors import EnrichError, MissingError, ModelMissing, UsageError
from enrich.settings import Step

if TYPE_CHECKING:
    from enrich.host import BoundStep, Host
    from enrich.inference import Model, Models, ModelStore
    from enrich.settings import Settings

__all__ = ["STEP", "Offer", "Offers", "plain"]

log = logging.getLogger(__name__)

#: The step that requests are asked as, in logs and in the catalog.
STEP = "api"

#: Steps that stay bound; each is a few objects. Prompts of clients would else fill the memory.
_KEPT_STEPS = 256
_CHATS = {"enrich_caption", "enrich_answer", "enrich_text"}
_PURPOSES = {
    "enrich_caption": "write captions",
    "enrich_answer": "answer questions",
    "enrich_age": "judge ages",
    "enrich_tag": "label pictures",
    "enrich_text": "read text",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be asked.

    Parameters
    ----------
    name : str
        By which it is asked.
    hooks : tuple of str
        The work hooks that it serves.
    languages : tuple of str
        What it can be asked for; empty for models without words.
    description : str
        One line.
    made_at : int
        When it came to lie here, in seconds since 1970.
    """

    name: str
    hooks: tuple[str, ...]
    languages: tuple[str, ...]
    description: str
    made_at: int = 0

    @property
    def chats(self) -> bool:
        """Whether a conversation can be had with it."""
        return bool(_CHATS & set(self.hooks))


class Offers:
    """Finds models and binds steps, from any thread.

    Parameters
    ----------
    settings : Settings
        Names the default model.
    host : Host
        The plugins.
    models : Models
        The loaded models, which folder work shares.
    store : ModelStore
        Where models lie.
    """

    def __init__(self, settings: Settings, host: Host, models: Models, store: ModelStore) -> None:
        self._settings, self._host, self._models, self._store = settings, host, models, store
        self._lock = threading.Lock()
        self._bound: OrderedDict[str, BoundStep] = OrderedDict()
        # The store is on a disk: what was found there once is not looked for again.
        self._opened: dict[str, Model] = {}
        self._defaults: dict[tuple[str, ...], str] = {}

    def all(self) -> list[Offer]:
        """Return everything that can be asked, by name."""
        offers = [
            Offer(
                one.name,
                one.model.hooks,
                one.model.languages,
                one.model.manifest.description or "",
                _made_at(one.folder / "manifest.json", one.folder),
            )
            for one in self._store.list()
            if one.model is not None
        ]
        if self.reads_text:
            written_at = _made_at(Path(self._host.plugins[TEXT_READER].module.__file__ or ""))
            offers.append(
                Offer(TEXT_READER, ("enrich_text",), (), "Reads the text in a picture.", written_at)
            )
        return sorted(offers, key=lambda offer: offer.name)

    @property
    def reads_text(self) -> bool:
        """Whether text can be read here: it takes an extra."""
        plugin = self._host.plugins.get(TEXT_READER)
        if plugin is None:
            return False
        try:
            plugin.module.check(plugin.module.Options(), None)
        except MissingError:
            return False
        return True

    def model(self, name: str | None, hooks: Sequence[str]) -> Model:
        """Return a model that serves one of ``hooks``, loaded.

        Parameters
        ----------
        name : str or None
            None takes the one that can do it best: the default one, then those that steps use, then
            those of the store.
        hooks : sequence of str
            The best first.

        Raises
        ------
        UnknownModel
            There is none of that name, or it cannot do this. Not retryable.
        Internal
            It cannot be loaded. Not retryable.
        """
        name = None if name is None else self._store.resolve(name)
        with self._lock:
            chosen = name or self._defaults.get(tuple(hooks))
            model = self._opened.get(chosen or "")
        if model is None:
            chosen = chosen or self._default(hooks)
            model = self._open(chosen)
            with self._lock:
                self._opened[chosen] = model
                if name is None:
                    self._defaults[tuple(hooks)] = chosen
        if not set(hooks) & set(model.hooks):
            able = " and ".join(_PURPOSES.get(hook, hook) for hook in model.hooks) or "do nothing of this"
            wanted = " or ".join(_PURPOSES.get(hook, hook) for hook in hooks)
            raise UnknownModel(f"the model {model.name} cannot {wanted}; it can {able}")
        return model

    def resolve(self, name: str) -> str:
        """Return what a model is called here, whatever it is asked by."""
        return self._store.resolve(name)

    def configured(self, plugin: str, model: str) -> Mapping[str, Any]:
        """Return the options of the first step that has this plugin and model; none without such a step."""
        for step in self._settings.steps.values():
            if step.plugin == plugin and step.model and self._store.resolve(step.model) == model:
                return step.options if step.size_px is None else {**step.options, "size_px": step.size_px}
        return {}

    def _open(self, name: str) -> Model:
        try:
            self._store.get(name)
        except (ModelMissing, UsageError) as error:
            # The store's own message says where it lies.
            raise UnknownModel(f'there is no model "{_shown(name)}" here') from error
        except EnrichError as error:
            raise _broken(name, error) from error
        try:
            return self._models.open(name)
        except EnrichError as error:
            raise _broken(name, error) from error

    def bind(self, plan: Plan, model: Model | None) -> BoundStep:
        """Return the step that does what is planned.

        Raises
        ------
        InvalidParameter
            The model cannot do what the options ask of it. Not retryable.
        UnknownModel
            A plugin, or a package that it needs, is not there. Not retryable.
        """
        name = None if model is None else model.name
        key = json.dumps([plan.plugin, name, plan.options], sort_keys=True)
        with self._lock:
            found = self._bound.get(key)
            if found is not None:
                self._bound.move_to_end(key)
                return found
        step = Step.model_validate({**plan.options, "plugin": plan.plugin, "hook": plan.hook, "model": name})
        try:
            bound = self._host.bind(STEP, step, self._models.open)
        except MissingError as error:
            log.warning("%s is asked for and cannot be had: %s", plan.plugin, error)
            raise UnknownModel(f"the server cannot {_PURPOSES.get(plan.hook, plan.hook)}") from error
        except UsageError as error:
            raise InvalidParameter(plain(str(error))) from error
        with self._lock:
            self._bound[key] = bound
            while len(self._bound) > _KEPT_STEPS:
                self._bound.popitem(last=False)
        return bound

    def _default(self, hooks: Sequence[str]) -> str:
        steps = (step.model for step in self._settings.steps.values() if step.model)
        stored = {one.name: one.model for one in self._store.list() if one.model is not None}
        names = [*map(self._store.resolve, (self._settings.api.default_model, *steps)), *stored]
        for hook in hooks:
            for name in names:
                if name in stored and hook in stored[name].hooks:
                    return name
        return self._settings.api.default_model


def plain(message: str) -> str:
    """Return a message about a made-up step as one about the request."""
    return re.sub(rf"^steps\.{STEP}(?:\.[\w.-]+)?: ", "", message)


def _shown(name: str) -> str:
    return name if len(name) <= 80 and name.isprintable() else ascii(name[:80])[1:-1]


def _made_at(*paths: Path) -> int:
    """Return when the first of these that is there was written."""
    for path in paths:
        with contextlib.suppress(OSError):
            return int(path.stat().st_mtime)
    return 0


def _broken(name: str, error: EnrichError) -> Internal:
    log.error("the model %s is asked for and cannot be loaded: %s", name, error)
    return Internal(f"the model {name} cannot be loaded; the server's log says why")
