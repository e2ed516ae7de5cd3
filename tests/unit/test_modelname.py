"""Steps of more than one model: the host opens those that the options name, and records their revisions."""

import types
from typing import Any

import pydantic
import pytest

import enrich
from enrich.errors import ConfigError, ModelMissing, UsageError
from enrich.host import BoundStep, Host
from enrich.host.discovery import Candidate
from enrich.settings import Step
from enrich.types import Rendition


class Model:
    """A model, as the host sees one."""

    def __init__(self, name: str, revision: str = "1") -> None:
        self.name, self.revision = name, revision

    def refusals(self, renditions: Any) -> list[None]:
        return [None] * len(renditions)


class Inner(pydantic.BaseModel):
    finder: enrich.ModelName


class Options(pydantic.BaseModel):
    faces: enrich.ModelName | None = None
    others: tuple[enrich.ModelName, ...] = ()
    inner: Inner | None = None


def enrich_tag(renditions: Any, context: Any) -> Any:
    said = [f"{name}: {model.name}" for name, model in context.models.items()]
    return [[enrich.Tag(one) for one in said] for _ in renditions]


def hosting(**attributes: Any) -> Host:
    module = types.ModuleType("pair")
    vars(module).update({"enrich_tag": enrich.hookimpl(enrich_tag), "Options": Options, **attributes})
    host = Host()
    host.load([Candidate("pair", "pair.py", None, None, lambda: module)])
    return host


def bind(host: Host, revision: str = "1", **options: Any) -> BoundStep:
    return host.bind("step", Step(plugin="pair", **options), lambda name: Model(name, revision))


def test_the_plugin_gets_the_models_that_its_options_name(picture: Rendition) -> None:
    host = hosting()
    step = bind(host, model="main", faces="a", others=["b", "c"], inner={"finder": "d"})
    assert step.model is not None
    assert step.model.name == "main"
    ((draft,),) = host.describe(step, [picture], [()])
    assert [tag.name for tag in draft.tags] == ["a: a", "b: b", "c: c", "d: d"]


def test_without_any_there_are_none(picture: Rendition) -> None:
    step = bind(hosting())
    assert step.models == {}
    assert step.generator.options == {"faces": None, "others": [], "inner": None}


def test_another_revision_is_another_generator_and_the_same_one_is_not() -> None:
    def digest(revision: str, name: str = "a") -> str:
        return bind(hosting(), revision, faces=name, inner={"finder": "b"}).generator.options_digest

    assert digest("1") == digest("1")
    assert digest("1") != digest("2")
    assert digest("1") != digest("1", "c")
    assert bind(hosting(), "7", faces="a").generator.options["faces"] == {"model": "a", "revision": "7"}


def test_a_name_is_a_text_outside_of_steps() -> None:
    assert Options(faces="a").model_dump(mode="json")["faces"] == "a"
    assert isinstance(Options(faces="a").faces, enrich.ModelName)
    with pytest.raises(pydantic.ValidationError):
        Options(faces="")


def test_a_model_that_is_not_there_is_named_with_its_key() -> None:
    def open_model(name: str) -> Any:
        raise ModelMissing(f"no model {name}")

    for options, key in (({"others": ["b"]}, r"others\.0"), ({"inner": {"finder": "b"}}, r"inner\.finder")):
        with pytest.raises(ModelMissing, match=rf"^steps\.step\.{key}: no model b"):
            hosting().bind("step", Step(plugin="pair", **options), open_model)


def test_a_check_may_ask_for_the_models() -> None:
    seen: list[Any] = []

    def check(options: Any, model: Any, models: Any) -> None:
        seen.append(dict(models))
        raise UsageError(f"{models['a'].name} is too small")

    with pytest.raises(ConfigError, match=r"^steps\.step: a is too small"):
        bind(hosting(check=check), faces="a")
    assert [*seen[0]] == ["a"]


def test_a_check_need_not() -> None:
    def check(options: Any, model: Any) -> None:
        seen.append(options.faces)

    seen: list[str] = []
    bind(hosting(check=check), faces="a")
    assert seen == ["a"]


@pytest.fixture
def picture() -> Rendition:
    import numpy as np

    return Rendition(None, None, 0, np.zeros((2, 2, 3), np.uint8), 2, 2, 2, 2)
