"""The plugin host: loads plugins, binds steps to them, and calls one hook of one plugin at a time.

``pm.hook.enrich_*`` is never called for work: there one exception discards every other plugin's
result. ``subset_hook_caller`` keeps pluggy's argument matching and wrappers for a single plugin.
"""

from __future__ import annotations

import difflib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from enrich import hookspecs
from enrich.errors import BrokenPicture, EnrichError, PluginContract, PluginError, PluginMissing
from enrich.host.asking import Subject, alike, subject
from enrich.host.binding import BoundStep, bind
from enrich.host.complaints import mend, said, trace_after, trace_before
from enrich.host.discovery import Candidate
from enrich.host.filters import Filters
from enrich.host.plugin import Failure, Plugin, guarded
from enrich.results import Draft, drafts
from enrich.types import Context, ModelHandle, Rendition, Skip, Statement

if TYPE_CHECKING:
    import PIL.Image

    from enrich.settings import Step

__all__ = ["Host", "Outcome"]

log = logging.getLogger("enrich.host")

#: What one rendition came to: its annotations, a reason to skip it, or why it failed.
Outcome = list[Draft] | Skip | EnrichError


class Host:
    """All loaded plugins.

    Parameters
    ----------
    trace : bool
        Log every hook call with its arguments and result (``ENRICH_TRACE=1``).
    """

    def __init__(self, *, trace: bool = False) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.failures: list[Failure] = []
        #: What looks at pictures before any model does.
        self.filters = Filters()
        self._pm = pluggy.PluginManager("enrich")
        self._pm.add_hookspecs(hookspecs)
        if trace:
            self._pm.add_hookcall_monitoring(trace_before, trace_after)

    def load(self, candidates: Iterable[Candidate]) -> None:
        """Import and register each candidate; one that fails is listed and left out."""
        for candidate in candidates:
            try:
                self.register(candidate.load(), candidate)
            # A plugin may raise anything while it is imported, SystemExit included.
            except (Exception, SystemExit) as error:  # noqa: BLE001
                reason = str(error) if isinstance(error, PluginError) else said(error)
                self.failures.append(
                    Failure(
                        candidate.name, candidate.origin, candidate.distribution, candidate.version, reason
                    )
                )
                log.warning("plugin %s (%s) was left out: %s", candidate.name, candidate.origin, reason)

    def register(self, module: Any, candidate: Candidate) -> Plugin:
        """Take one plugin in.

        Raises
        ------
        PluginContract
            Its name is taken, it is registered already, it has no hook, or a hook or an argument
            that no specification knows. It is then not registered. Not retryable.
        """
        if candidate.name in self.plugins:
            taken = self.plugins[candidate.name]
            raise PluginContract(f"the name {candidate.name} is taken by {taken.origin}; rename one of them")
        if type(module).__hash__ is None:
            raise PluginContract(f"it is a {type(module).__name__}, which has no hash; give a module")
        if self._pm.is_registered(module):
            raise PluginContract(
                f"it is the plugin {self._pm.get_name(module)} once more; remove one of them"
            )
        try:
            self._pm.register(module, candidate.name)
            self._pm.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._pm.is_registered(module):  # newer releases of pluggy take some back themselves
                self._pm.unregister(module)
            raise PluginContract(mend(error)) from error
        callers = self._pm.get_hookcallers(module) or ()
        hooks = tuple(sorted(caller.name for caller in callers if _implements(caller, module)))
        if not callers:
            self._pm.unregister(module)
            raise PluginContract(
                "it has no hook; put @enrich.hookimpl above a function named like enrich_tag"
            )
        plugin = Plugin(
            candidate.name, candidate.origin, candidate.distribution, candidate.version, hooks, module
        )
        self.plugins[candidate.name] = plugin
        return plugin

    def bind(
        self,
        name: str,
        step: Step,
        open_model: Callable[[str], ModelHandle] | None,
        earlier: Sequence[BoundStep] = (),
    ) -> BoundStep:
        """Check a step of config.yaml and find everything it needs; ``earlier`` are the steps before it.

        Raises
        ------
        PluginMissing
            There is no such plugin, or it did not load. Not retryable.
        ModelMissing, ExtraMissing, ConfigError, PluginFailed
            As ``binding.bind`` says.
        """
        return bind(name, step, self._find(name, step.plugin), open_model, earlier)

    def describe(
        self, step: BoundStep, renditions: Sequence[Rendition], statements: Sequence[Sequence[Statement]]
    ) -> list[Outcome]:
        """Run a step over a batch and return what each rendition came to, in order.

        A batch that fails is tried again one by one, so a rendition suffers only from itself.
        """
        outcomes: list[Outcome | None] = [None] * len(renditions)
        if step.model is not None:
            try:
                refusals = step.model.refusals(renditions)
            except EnrichError as error:
                return [error] * len(renditions)
            outcomes = [None if reason is None else Skip(reason) for reason in refusals]
        open_indexes = [index for index, outcome in enumerate(outcomes) if outcome is None]
        subjects = [subject(renditions[i], statements[i], step.questions) for i in open_indexes]
        for index, one, result in zip(open_indexes, subjects, self._try(step, subjects), strict=True):
            outcomes[index] = _outcome(step, one, result)
        return [outcome for outcome in outcomes if outcome is not None]

    def open_original(self, path: Path, media_type: str) -> Sequence[PIL.Image.Image] | None:
        """Ask the plugins for a decoder of this type; None where there is none.

        Raises
        ------
        BrokenPicture
            A plugin raised, and no other one opened the file. Not retryable.
        """
        trouble: EnrichError | None = None
        for plugin in self.plugins.values():
            if "enrich_open" in plugin.hooks:
                caller = self._caller("enrich_open", plugin)
                try:
                    images = guarded(plugin, caller, path=path, media_type=media_type)
                except EnrichError as error:
                    trouble = error
                    continue
                if images is not None:
                    return images  # type: ignore[no-any-return]  # what the specification promises
        if trouble is not None:
            raise BrokenPicture(str(trouble)) from trouble
        return None

    def implementing(self, hook: str) -> list[str]:
        """Return the names of the plugins that have this hook."""
        return [plugin.name for plugin in self.plugins.values() if hook in plugin.hooks]

    def notify(self, hook: str, **facts: Any) -> None:
        """Call an observer hook of every plugin in turn; a failure is logged and stops nobody."""
        for name in self.implementing(hook):
            self.tell(name, hook, **facts)

    def tell(self, plugin: str, hook: str, **facts: Any) -> None:
        """Call an observer hook of one plugin; a failure is logged."""
        try:
            guarded(self.plugins[plugin], self._caller(hook, self.plugins[plugin]), **facts)
        except EnrichError as error:
            log.warning("%s: %s", hook, error)

    def _find(self, step: str, name: str) -> Plugin:
        plugin = self.plugins.get(name)
        if plugin is not None:
            return plugin
        for failure in self.failures:
            if failure.name == name:
                raise PluginMissing(
                    f"steps.{step}.plugin: {name} ({failure.origin}) did not load: {failure.error}"
                )
        near = difflib.get_close_matches(name, self.plugins, 1)
        hint = (
            f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(self.plugins)) or 'none'}"
        )
        raise PluginMissing(f"steps.{step}.plugin: no plugin {name}; {hint}")

    def _caller(self, hook: str, plugin: Plugin) -> Callable[..., Any]:
        """Return a caller of one plugin's implementation, inside everybody's wrappers."""
        others = {
            impl.plugin
            for impl in getattr(self._pm.hook, hook).get_hookimpls()
            if impl.plugin is not plugin.module and not (impl.hookwrapper or impl.wrapper)
        }
        return self._pm.subset_hook_caller(hook, others)

    def _try(self, step: BoundStep, subjects: Sequence[Subject]) -> list[Any]:
        """Return a result or an EnrichError per subject; those asked the same go into one call."""
        groups = alike(subjects)
        if len(groups) > 1:
            results: list[Any] = [None] * len(subjects)
            for indices in groups:
                found = self._try(step, [subjects[index] for index in indices])
                for index, result in zip(indices, found, strict=True):
                    results[index] = result
            return results
        if not subjects:
            return []
        try:
            return self._call(step, subjects)
        except EnrichError as error:
            if len(subjects) == 1:
                return [error]
            log.info("step %s: a batch of %d failed, trying one by one: %s", step.name, len(subjects), error)
        return [result for one in subjects for result in self._try(step, [one])]

    def _call(self, step: BoundStep, subjects: Sequence[Subject]) -> list[Any]:
        context = Context(
            step=step.name,
            options=step.options,
            model=step.model,
            annotations=[one.statements for one in subjects],
            language=getattr(step.options, "lang", None),
            length=getattr(step.options, "length", None),
            deadline=None if step.deadline_seconds is None else time.monotonic() + step.deadline_seconds,
            log=logging.getLogger(f"enrich.step.{step.name}"),
            models=step.models,
        )
        offered: dict[str, Any] = {"renditions": [one.rendition for one in subjects], "context": context}
        if step.hook == "enrich_answer":
            offered["questions"] = subjects[0].questions
        return self.call(step.plugin, step.hook, **offered)

    def call(self, plugin: Plugin, hook: str, **offered: Any) -> list[Any]:
        """Call a hook of one plugin with a batch of ``renditions``; return one result for each.

        Raises
        ------
        PluginFailed, PluginContract
            It raised, or returned something else. Retryable where what it raised may pass.
        """
        returned = guarded(plugin, self._caller(hook, plugin), **offered)
        # One implementation answers with a list of one; pluggy leaves a None out.
        results = returned[0] if returned else None
        if isinstance(results, (str, bytes, Mapping)) or not isinstance(results, Iterable):
            raise PluginContract(
                f"plugin {plugin.name} returned {type(results).__name__}; {hook} must return a list"
            )
        # A generator runs the plugin's code only now.
        aligned: list[Any] = guarded(plugin, functools.partial(list, results))
        if len(aligned) != len(offered["renditions"]):
            raise PluginContract(
                f"plugin {plugin.name} returned {len(aligned)} results for {len(offered['renditions'])} "
                f"renditions; {hook} must return one each, in order"
            )
        return aligned


def _outcome(step: BoundStep, asked: Subject, result: Any) -> Outcome:
    if isinstance(result, Skip) and isinstance(result.reason, str):
        return result
    if isinstance(result, EnrichError):
        return result
    check = functools.partial(drafts, step.hook, result, asked.rendition.page, asked.questions)
    try:
        # What the plugin returned may run its code when it is looked at.
        made: list[Draft] = guarded(step.plugin, check)
    except PluginContract as error:
        return PluginContract(f"plugin {step.plugin.name}: {error}")
    except EnrichError as error:
        return error
    return made


def _implements(caller: pluggy.HookCaller, module: Any) -> bool:
    return any(
        impl.plugin is module and not (impl.hookwrapper or impl.wrapper) for impl in caller.get_hookimpls()
    )
