"""The host: whatever a plugin does wrong is recorded against it, and hurts nobody else."""

import logging
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydantic
import pytest

import enrich
from enrich.errors import (
    BrokenPicture,
    ConfigError,
    EnrichError,
    ExtraMissing,
    InferenceError,
    ModelMissing,
    PluginContract,
    PluginFailed,
    PluginMissing,
)
from enrich.hookspecs import WORK_HOOKS
from enrich.host import BoundStep, Generator, Host
from enrich.host.asking import subject
from enrich.host.discovery import Candidate
from enrich.results import Draft
from enrich.settings import Step
from enrich.types import Context, Rendition, Skip, Statement


def rendition(number: int, page: int = 0) -> Rendition:
    pixels = np.full((1, 1, 3), number, np.uint8)
    return Rendition(number, Path(f"{number}.png"), page, pixels, 1, 1, 1, 1)


PICTURES = [rendition(number) for number in range(4)]


def of(name: str, *hooks: Callable[..., Any], **attributes: Any) -> Candidate:
    """A plugin of these hook functions, as discovery would find it."""
    module = types.ModuleType(name)
    for function in hooks:
        setattr(module, function.__name__, enrich.hookimpl(function))
    vars(module).update(attributes)
    return Candidate(name, f"{name}.py", None, None, lambda: module)


def hosting(*candidates: Candidate, trace: bool = False) -> Host:
    host = Host(trace=trace)
    host.load(candidates)
    return host


def bind(host: Host, plugin: str, model: Any = None, **keys: Any) -> BoundStep:
    name = None if model is None else "a-model"
    return host.bind("step", Step(plugin=plugin, model=name, **keys), lambda _: model)


def outcomes(host: Host, plugin: str, pictures: Sequence[Rendition] = PICTURES, **keys: Any) -> list[Any]:
    return host.describe(bind(host, plugin, **keys), pictures, [()] * len(pictures))


def texts(results: list[Any]) -> list[Any]:
    return [result[0].text if isinstance(result, list) else type(result) for result in results]


def enrich_tag(renditions: Any) -> Any:
    return [[enrich.Tag(f"tag {item.asset_id}")] for item in renditions]


GOOD = of("good", enrich_tag)


def failing(error: BaseException) -> Candidate:
    def enrich_tag(renditions: Any) -> Any:
        raise error

    return of("bad", enrich_tag)


# Calling


def test_one_plugin_is_called_and_no_other_whenever_that_was_loaded() -> None:
    host = hosting(failing(ValueError()), GOOD)
    step = bind(host, "good")
    host.load([of("late", enrich_tag), Candidate("worse", "w", None, None, failing(ValueError()).load)])
    assert texts(host.describe(step, PICTURES[:1], [()])) == ["tag 0"]


def test_each_rendition_gets_its_own_result() -> None:
    assert texts(outcomes(hosting(GOOD), "good")) == ["tag 0", "tag 1", "tag 2", "tag 3"]


def test_no_renditions_are_no_call() -> None:
    assert outcomes(hosting(failing(ValueError())), "bad", []) == []


def test_a_plugin_that_raises_hurts_nobody_else() -> None:
    host = hosting(GOOD, failing(ValueError("no\nluck")), of("late", enrich_tag))
    for error in outcomes(host, "bad"):
        assert isinstance(error, PluginFailed)
        assert str(error).startswith("plugin bad raised ValueError: no luck (test_host.py, line ")
        assert not error.retryable
    for name in ("good", "late"):
        assert texts(outcomes(host, name)) == ["tag 0", "tag 1", "tag 2", "tag 3"]


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(), RecursionError(), AssertionError()])
def test_nothing_a_plugin_raises_passes_the_host(error: BaseException) -> None:
    assert texts(outcomes(hosting(failing(error)), "bad")) == [PluginFailed] * 4


@pytest.mark.parametrize("error", [OSError("disk"), TimeoutError(), MemoryError()])
def test_passing_trouble_of_the_machine_may_be_tried_again(error: Exception) -> None:
    assert all(result.retryable for result in outcomes(hosting(failing(error)), "bad"))


def test_an_error_of_ours_is_kept_as_it_is() -> None:
    refused = InferenceError("the runtime refused the batch")
    assert outcomes(hosting(failing(refused)), "bad") == [refused] * 4


def test_a_batch_that_fails_is_tried_one_by_one_so_only_the_bad_rendition_fails() -> None:
    calls = []

    def enrich_tag(renditions: Any) -> Any:
        calls.append([item.asset_id for item in renditions])
        if 2 in calls[-1]:
            raise ValueError("not this one")
        return [[enrich.Tag(str(item.asset_id))] for item in renditions]

    results = outcomes(hosting(of("picky", enrich_tag)), "picky")
    assert texts(results) == ["0", "1", PluginFailed, "3"]
    assert calls == [[0, 1, 2, 3], [0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ([[]], "returned 1 results for 4 renditions; enrich_tag must return one each, in order"),
        ([[]] * 5, "returned 5 results for 4 renditions"),
        (None, "returned NoneType; enrich_tag must return a list"),
        ("tags", "returned str; enrich_tag must return a list"),
        ({}, "returned dict; enrich_tag must return a list"),
        (7, "returned int; enrich_tag must return a list"),
    ],
)
def test_a_result_of_the_wrong_length_or_type_is_refused(returned: Any, complaint: str) -> None:
    def enrich_tag(renditions: Any) -> Any:
        return returned if len(renditions) > 1 else [None, None]

    host = hosting(of("wrong", enrich_tag))
    with pytest.raises(PluginContract, match=complaint):
        host._call(bind(host, "wrong"), [subject(one, (), ()) for one in PICTURES])
    for error in outcomes(host, "wrong"):
        assert isinstance(error, PluginContract)
        assert str(error).startswith("plugin wrong returned 2 results for 1 renditions")


def test_one_result_of_the_wrong_type_is_that_renditions_failure_alone() -> None:
    def enrich_tag(renditions: Any) -> Any:
        return [[], "dog", [enrich.Tag("x", 2)], None]

    fine, text, beyond, nothing = outcomes(hosting(of("mixed", enrich_tag)), "mixed")
    assert fine[0].is_empty
    assert str(text) == "plugin mixed: returned str 'dog' where a list of Tag, or None was expected"
    assert str(beyond) == "plugin mixed: a confidence is 2.0; it must be from 0 to 1"
    assert nothing[0].is_empty


def test_a_generator_that_raises_late_is_still_the_plugins_failure() -> None:
    def enrich_tag(renditions: Any) -> Any:
        for item in renditions:
            if item.asset_id == 3:
                raise ValueError("late")
            yield [enrich.Tag("x")]

    assert texts(outcomes(hosting(of("lazy", enrich_tag)), "lazy")) == ["x", "x", "x", PluginFailed]


def test_an_inner_generator_that_raises_is_that_renditions_failure() -> None:
    def enrich_tag(renditions: Any) -> Any:
        return [tags(item.asset_id) for item in renditions]

    def tags(number: int) -> Any:
        yield enrich.Tag("x", 1 / (number - 1) ** 2)

    results = outcomes(hosting(of("lazy", enrich_tag)), "lazy")
    assert texts(results) == ["x", PluginFailed, "x", "x"]
    assert "ZeroDivisionError" in str(results[1])


def test_a_skip_is_passed_on_with_its_reason() -> None:
    def enrich_caption(renditions: Any) -> Any:
        return [Skip("too dark"), enrich.Caption("a"), Skip(None), None]  # type: ignore[arg-type]

    dark, caption, nameless, nothing = outcomes(hosting(of("shy", enrich_caption)), "shy")
    assert dark == Skip("too dark")
    assert caption[0].text == "a"
    assert isinstance(nameless, PluginContract)
    assert nothing[0].is_empty


def test_a_plugin_is_told_its_step_and_what_was_said_before() -> None:
    seen: list[Context] = []

    def enrich_data(context: Any) -> Any:
        seen.append(context)
        return [{}]

    host = hosting(of("curious", enrich_data))
    said = (Statement("ocr", "", "text", "hello"),)
    host.describe(bind(host, "curious", deadline_seconds=60), PICTURES[:1], [said])
    (context,) = seen
    assert context.step == "step"
    assert context.annotations == [said]
    assert context.log.name == "enrich.step.step"
    assert context.deadline is not None
    assert bind(host, "curious").deadline_seconds is None


def test_a_draft_carries_the_renditions_page() -> None:
    (result,) = outcomes(hosting(GOOD), "good", [rendition(1, page=7)])
    said = [{"name": "tag 1", "confidence": None}]
    assert result == [Draft("tags", page=7, text="tag 1", data=said, tags=(enrich.Tag("tag 1"),))]


def test_wrappers_still_wrap_and_are_no_work_of_their_own() -> None:
    @enrich.hookimpl(wrapper=True)
    def around() -> Any:
        results = yield
        return [[[*tags, enrich.Tag("wrapped")] for tags in results[0]]]

    host = hosting(GOOD, of("other", enrich_tag), of("wrapper", enrich_tag=around))
    assert texts(outcomes(host, "good", PICTURES[:1])) == ["tag 0, wrapped"]
    assert host.plugins["wrapper"].hooks == ()
    with pytest.raises(ConfigError, match="wrapper has no work hook"):
        bind(host, "wrapper")


# Models


class Model:
    """A stand-in for a model, as the host sees one."""

    name = "a-model"
    revision = "r1"

    def __init__(self, refused: Sequence[str | None] = (), error: EnrichError | None = None) -> None:
        self._refused = refused
        self._error = error

    def refusals(self, renditions: Sequence[Rendition]) -> list[str | None]:
        if self._error is not None:
            raise self._error
        return list(self._refused) or [None] * len(renditions)

    def predict(self, renditions: Sequence[Rendition]) -> Any:
        raise NotImplementedError


def test_what_a_model_does_not_know_is_skipped_and_not_handed_to_the_plugin() -> None:
    handed: list[Any] = []

    def enrich_tag(renditions: Any, context: Any) -> Any:
        handed.extend(item.asset_id for item in renditions)
        assert context.model is model
        return [[enrich.Tag(str(item.asset_id))] for item in renditions]

    model = Model([None, "outside_domain", "outside_domain", None])
    results = outcomes(hosting(of("tagger", enrich_tag)), "tagger", model=model)
    assert results[1] == results[2] == Skip("outside_domain")
    assert texts([results[0], results[3]]) == ["0", "3"]
    assert handed == [0, 3]


def test_a_model_that_cannot_look_is_every_renditions_failure() -> None:
    error = InferenceError("refused")
    assert outcomes(hosting(GOOD), "good", model=Model(error=error)) == [error] * 4


# Loading


def loaded_and_failed(*candidates: Candidate) -> tuple[list[str], dict[str, str]]:
    host = hosting(*candidates)
    return list(host.plugins), {failure.name: failure.error for failure in host.failures}


def enrich_tags(renditions: Any) -> Any:
    return []


def test_a_misspelt_hook_is_left_out_with_the_right_name_and_the_others_stay() -> None:
    loaded, failed = loaded_and_failed(GOOD, of("typo", enrich_tags), of("late", enrich_tag))
    assert loaded == ["good", "late"]
    assert failed == {"typo": "there is no hook enrich_tags; did you mean enrich_tag?"}
    assert texts(outcomes(hosting(GOOD, of("typo", enrich_tags)), "good"))[0] == "tag 0"


def test_a_hook_like_no_other_is_answered_with_all_names() -> None:
    def enrich_zzzzzz() -> None: ...

    _, failed = loaded_and_failed(of("odd", enrich_zzzzzz))
    assert all(hook in failed["odd"] for hook in (*WORK_HOOKS, "enrich_open", "enrich_annotated"))


def test_nothing_of_a_plugin_with_one_misspelt_hook_is_called() -> None:
    def enrich_startup() -> None:
        raise AssertionError("called")

    host = hosting(of("typo", enrich_startup, enrich_tags))
    host.notify("enrich_startup")
    assert not host.implementing("enrich_startup")


def test_an_argument_that_nobody_offers_is_named_with_those_that_are() -> None:
    def enrich_caption(pictures: Any) -> Any:
        return []

    _, failed = loaded_and_failed(of("typo", enrich_caption))
    assert failed["typo"] == (
        "enrich_caption is offered no argument 'pictures'; the arguments are: renditions, context"
    )


def test_a_plugin_without_a_hook_is_told_how_to_have_one() -> None:
    _, failed = loaded_and_failed(of("empty", Options=pydantic.BaseModel))
    assert failed["empty"].startswith("it has no hook; put @enrich.hookimpl above")


def test_a_taken_name_is_refused_with_who_has_it() -> None:
    loaded, failed = loaded_and_failed(GOOD, of("good", enrich_tag))
    assert loaded == ["good"]
    assert failed["good"] == "the name good is taken by good.py; rename one of them"


def test_a_module_under_a_second_name_does_not_cost_it_the_first() -> None:
    again = Candidate("again", "here", None, None, GOOD.load)
    host = hosting(GOOD, again)
    assert [failure.error for failure in host.failures] == [
        "it is the plugin good once more; remove one of them"
    ]
    assert texts(outcomes(host, "good"))[0] == "tag 0"


def test_an_object_will_do_but_not_one_without_a_hash() -> None:
    class Tagger:
        @enrich.hookimpl
        def enrich_tag(self, renditions: Any) -> Any:
            return enrich_tag(renditions)

    class Unhashable(Tagger):
        __hash__ = None  # type: ignore[assignment]  # as a dataclass has it

    host = hosting(
        Candidate("object", "o", None, None, Tagger),
        Candidate("unhashable", "u", None, None, Unhashable),
        GOOD,
    )
    assert list(host.plugins) == ["object", "good"]
    assert texts(outcomes(host, "object"))[1] == "tag 1"
    assert "has no hash" in host.failures[0].error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImportError("no module named x"), "ImportError: no module named x (test_host.py, line "),
        (SystemExit(), "SystemExit (test_host.py, line "),
        (ExtraMissing("say: pip install x"), "ExtraMissing: say: pip install x"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_one_line(error: BaseException, reason: str) -> None:
    def load() -> Any:
        raise error

    broken = Candidate("broken", "pkg.broken", "acme-enrich", "1.2", load)
    host = hosting(broken, GOOD)
    assert list(host.plugins) == ["good"]
    (failure,) = host.failures
    assert (failure.name, failure.origin) == ("broken", "pkg.broken")
    assert (failure.distribution, failure.version) == ("acme-enrich", "1.2")
    assert failure.error.startswith(reason)


# Binding


def test_a_step_takes_what_the_plugin_wishes_unless_it_says_otherwise() -> None:
    host = hosting(of("sharp", enrich_tag, size_px=2048, revision=3), GOOD)
    assert bind(host, "good").size_px == 768
    assert bind(host, "sharp").size_px == 2048
    assert bind(host, "sharp", size_px=100).size_px == 100
    step = bind(host, "sharp", model=Model(), pages="all", priority=5)
    assert (step.name, step.hook, step.all_pages, step.priority) == ("step", "enrich_tag", True, 5)
    assert step.generator == Generator("enrich_tag", "sharp", "3", "a-model", "r1", {})
    assert bind(host, "good").generator.plugin_revision == "1"


def test_a_model_that_makes_use_of_more_pixels_gets_them() -> None:
    def wanting(size_px: int | None) -> Model:
        model = Model()
        model.size_px = size_px  # type: ignore[attr-defined]  # handles need not have it
        return model

    host = hosting(of("sharp", enrich_tag, size_px=2048), GOOD)
    assert bind(host, "good", model=wanting(1024)).size_px == 1024
    assert bind(host, "good", model=wanting(224)).size_px == 768
    assert bind(host, "good", model=wanting(None)).size_px == 768
    assert bind(host, "sharp", model=wanting(1024)).size_px == 2048
    assert bind(host, "good", model=wanting(1024), size_px=100).size_px == 100


def enrich_caption(renditions: Any) -> Any:
    return [enrich.Caption("a") for _ in renditions]


def test_the_hook_is_inferred_where_there_is_one_and_asked_for_where_there_are_several() -> None:
    host = hosting(GOOD, of("both", enrich_tag, enrich_caption))
    assert bind(host, "good").hook == "enrich_tag"
    assert bind(host, "both", hook="caption").hook == "enrich_caption"
    assert bind(host, "both", hook="enrich_tag").hook == "enrich_tag"
    with pytest.raises(
        ConfigError,
        match=r"steps\.step: both has several hooks; say hook: enrich_caption or hook: enrich_tag",
    ):
        bind(host, "both")
    with pytest.raises(ConfigError, match=r"steps\.step\.hook: good has no enrich_age; it has: enrich_tag"):
        bind(host, "good", hook="age")


def test_an_observer_is_no_step() -> None:
    def enrich_startup() -> None: ...

    with pytest.raises(ConfigError, match="observer has no work hook, so it cannot be a step"):
        bind(hosting(of("observer", enrich_startup)), "observer")


def test_an_unknown_plugin_is_answered_with_the_nearest_name() -> None:
    host = hosting(GOOD, failing(ValueError()))
    with pytest.raises(PluginMissing, match=r"steps\.step\.plugin: no plugin goods; did you mean good\?"):
        bind(host, "goods")
    with pytest.raises(PluginMissing, match="no plugin zzz; there are: bad, good"):
        bind(host, "zzz")


def test_a_step_of_a_plugin_that_did_not_load_says_why() -> None:
    with pytest.raises(PluginMissing, match=r"typo \(typo\.py\) did not load: there is no hook enrich_tags"):
        bind(hosting(of("typo", enrich_tags)), "typo")


class Options(pydantic.BaseModel):
    threshold: float = 0.5
    words: tuple[str, ...] = ()


def test_options_are_checked_and_their_errors_name_the_key() -> None:
    host = hosting(of("tagger", enrich_tag, Options=Options), GOOD)
    step = bind(host, "tagger", threshold=0.25)
    assert step.options == Options(threshold=0.25)
    assert step.generator.options == {"threshold": 0.25, "words": []}
    with pytest.raises(ConfigError, match=r"^steps\.step\.threshold: Input should be a valid number"):
        bind(host, "tagger", threshold="high")
    with pytest.raises(ConfigError, match=r"^steps\.step\.words\.1: "):
        bind(host, "tagger", words=["a", 1])
    with pytest.raises(
        ConfigError, match=r"^steps\.step\.treshold: unknown key; tagger has: threshold, words"
    ):
        bind(host, "tagger", treshold=1)
    with pytest.raises(
        ConfigError, match=r"^steps\.step\.threshold: unknown key; the plugin good has no options"
    ):
        bind(host, "good", threshold=1)


def test_an_unknown_key_goes_before_the_one_that_is_missing_for_it() -> None:
    class Inner(pydantic.BaseModel, extra="forbid"):
        ask: str

    class Outer(pydantic.BaseModel):
        asked: dict[str, Inner]

    host = hosting(of("asker", enrich_tag, Options=Outer))
    with pytest.raises(ConfigError, match=r"^steps\.step\.asked\.a\.aks: unknown key$"):
        bind(host, "asker", asked={"a": {"aks": "?"}})
    with pytest.raises(ConfigError, match=r"^steps\.step\.asked\.a\.ask: it must be given$"):
        bind(host, "asker", asked={"a": {}})


def test_a_plugin_may_allow_options_of_any_name() -> None:
    class Anything(pydantic.BaseModel, extra="allow"): ...

    assert (
        bind(hosting(of("free", enrich_tag, Options=Anything)), "free", colour="red").options.colour == "red"
    )


def test_generators_differ_by_their_options_whatever_their_order() -> None:
    def digest(**options: Any) -> str:
        return Generator("enrich_tag", "p", "1", "", "", options).options_digest

    assert digest(a=1, b=[2]) == digest(b=[2], a=1)
    assert digest(a=1) != digest(a=2)
    assert len(digest()) == 64


def test_a_plugin_that_needs_a_model_says_so() -> None:
    host = hosting(of("hungry", enrich_tag, needs_model=True))
    with pytest.raises(ConfigError, match=r"^steps\.step\.model: the plugin hungry needs a model"):
        bind(host, "hungry")
    assert bind(host, "hungry", model=Model()).model is not None


def test_a_model_that_is_not_there_is_the_stores_complaint() -> None:
    def open_model(name: str) -> Any:
        raise ModelMissing(f"no model {name}")

    with pytest.raises(ModelMissing, match=r"^steps\.step\.model: no model m"):
        hosting(GOOD).bind("step", Step(plugin="good", model="m"), open_model)


def test_what_a_plugin_requires_is_asked_for_before_work() -> None:
    def requires() -> None:
        raise ExtraMissing("acme needs the package acme: pip install acme")

    def broken() -> None:
        raise ValueError("oops")

    host = hosting(of("acme", enrich_tag, requires=requires), of("broken", enrich_tag, requires=broken))
    with pytest.raises(ExtraMissing, match="pip install acme"):
        bind(host, "acme")
    with pytest.raises(PluginFailed, match="plugin broken raised ValueError: oops"):
        bind(host, "broken")


def test_options_that_are_no_pydantic_model_are_the_plugins_failure() -> None:
    with pytest.raises(PluginFailed, match="plugin odd raised AttributeError"):
        bind(hosting(of("odd", enrich_tag, Options=object())), "odd", colour="red")


# Decoders and observers


def opener(name: str, opens: str | Exception, asked: list[str]) -> Candidate:
    def enrich_open(path: Any, media_type: Any) -> Any:
        asked.append(name)
        if isinstance(opens, Exception):
            raise opens
        return [PIL.Image.new("RGB", (1, 1))] if media_type == opens else None

    return of(name, enrich_open)


def test_decoders_are_asked_in_the_order_of_loading_until_one_opens() -> None:
    asked: list[str] = []
    host = hosting(*(opener(name, kind, asked) for name, kind in [("a", "x/a"), ("b", "x/b"), ("c", "x/b")]))
    assert host.implementing("enrich_open")
    opened = host.open_original(Path("f"), "x/b")
    assert opened is not None
    assert len(opened) == 1
    assert asked == ["a", "b"]
    assert host.open_original(Path("f"), "x/z") is None


def test_a_decoder_that_raises_keeps_nobody_else_from_opening() -> None:
    asked: list[str] = []
    host = hosting(opener("a", ValueError("bad bytes"), asked), opener("b", "x/b", asked), GOOD)
    assert host.open_original(Path("f"), "x/b") is not None
    with pytest.raises(BrokenPicture, match="plugin a raised ValueError: bad bytes"):
        host.open_original(Path("f"), "x/z")


def test_an_observer_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def observing(name: str, error: BaseException | None = None) -> Candidate:
        def enrich_annotated(asset_id: Any, step: Any) -> None:
            if error is not None:
                raise error
            seen.append((name, asset_id, step))

        return of(name, enrich_annotated)

    host = hosting(
        observing("a"), observing("b", ValueError("no")), observing("c", SystemExit()), observing("d")
    )
    host.notify("enrich_annotated", asset_id=7, step="ocr", outbox=None)
    assert seen == [("a", 7, "ocr"), ("d", 7, "ocr")]
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "enrich_annotated: plugin b raised ValueError: no",
        "enrich_annotated: plugin c raised SystemExit",
    ]


def test_each_life_hook_reaches_the_plugins_that_have_it() -> None:
    seen: list[str] = []

    def enrich_startup() -> None:
        seen.append("startup")

    def enrich_shutdown() -> None:
        seen.append("shutdown")

    def enrich_asset_ingested(path: Any) -> None:
        seen.append(str(path))

    host = hosting(of("living", enrich_startup, enrich_shutdown, enrich_asset_ingested), GOOD)
    host.notify("enrich_startup")
    host.notify("enrich_asset_ingested", asset_id=1, path=Path("a.jpg"), outbox=None)
    host.notify("enrich_shutdown")
    assert seen == ["startup", "a.jpg", "shutdown"]


# Tracing


def test_a_trace_shows_each_call_with_its_arguments_and_result(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "enrich.host")
    host = hosting(GOOD, failing(ValueError("no")), trace=True)
    outcomes(host, "good", PICTURES[:1])
    outcomes(host, "bad", PICTURES[:1])
    before, returned, _, raised = (record.getMessage() for record in caplog.records)
    assert before.startswith("trace: enrich_tag(renditions=[Rendition(")
    assert "context=Context(" in before
    assert before.endswith(" -> good")
    assert returned.startswith("trace: enrich_tag returned [[[Tag(")
    assert raised.startswith("trace: enrich_tag raised ValueError: no")


def test_without_a_trace_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "enrich.host")
    outcomes(hosting(GOOD), "good")
    assert not caplog.records
