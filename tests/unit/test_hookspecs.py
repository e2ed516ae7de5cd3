"""The markers of plugin authors, and how pluggy matches what they marked."""

import dataclasses
import inspect
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

import enrich
from enrich import hookspecs
from enrich.hookspecs import WORK_HOOKS
from enrich.types import Context, Question, Statement

CONTEXT = Context("step", {}, None, (), None, None, None, logging.getLogger("test"))


def called(function: Callable[..., Any], hook: str, **arguments: Any) -> Any:
    """Register a function as a plugin's hook with pluggy itself, and call the hook."""
    manager = pluggy.PluginManager("enrich")
    manager.add_hookspecs(hookspecs)
    manager.register(SimpleNamespace(**{hook: function}))
    manager.check_pending()
    (result,) = getattr(manager.hook, hook)(**arguments)
    return result


def test_each_work_hook_has_a_specification_and_every_specification_is_a_known_hook() -> None:
    specified = {name for name in vars(hookspecs) if name.startswith("enrich_")}
    others = {
        "enrich_moderate", "enrich_open", "enrich_startup", "enrich_shutdown", "enrich_asset_ingested",
        "enrich_annotated", "enrich_register_routes",
    }  # fmt: skip
    assert specified == set(WORK_HOOKS) | others


@pytest.mark.parametrize("hook", [*WORK_HOOKS, "enrich_open"])
def test_a_specification_is_no_implementation(hook: str) -> None:
    specification = getattr(hookspecs, hook)
    with pytest.raises(AssertionError, match="never called"):
        specification(*(None for _ in inspect.signature(specification).parameters))


def test_each_gets_one_rendition_at_a_time() -> None:
    @enrich.hookimpl
    @enrich.each
    def enrich_tag(rendition: Any) -> Any:
        return rendition * 2

    assert called(enrich_tag, "enrich_tag", renditions=[1, 2, 3], context=CONTEXT) == [2, 4, 6]
    assert called(enrich_tag, "enrich_tag", renditions=[], context=CONTEXT) == []


def test_the_decorators_may_stand_in_either_order() -> None:
    @enrich.each
    @enrich.hookimpl
    def enrich_tag(rendition: Any) -> Any:
        return rendition * 2

    assert called(enrich_tag, "enrich_tag", renditions=[1, 2], context=CONTEXT) == [2, 4]


def test_each_sees_the_statements_of_its_own_rendition_only() -> None:
    statements = [(Statement("ocr", "", "text", text),) for text in "ab"]
    context = dataclasses.replace(CONTEXT, annotations=statements)

    @enrich.hookimpl
    @enrich.each
    def enrich_data(context: Context, rendition: Any) -> Any:
        ((statement,),) = context.annotations
        return {rendition: statement.text, "step": context.step}

    said = called(enrich_data, "enrich_data", renditions=["x", "y"], context=context)
    assert said == [{"x": "a", "step": "step"}, {"y": "b", "step": "step"}]


def test_each_gets_the_questions_where_it_takes_them() -> None:
    questions = (Question("colour", "What colour?"), Question("count", "How many?", "number"))

    @enrich.hookimpl
    @enrich.each
    def enrich_answer(rendition: Any, questions: Any) -> Any:
        return [enrich.Answer(f"{rendition} {question.name}") for question in questions]

    said = called(enrich_answer, "enrich_answer", renditions=["x"], questions=questions, context=CONTEXT)
    assert [answer.text for answer in said[0]] == ["x colour", "x count"]


def test_each_can_leave_the_questions_out() -> None:
    @enrich.hookimpl
    @enrich.each
    def enrich_answer(rendition: Any) -> Any:
        return []

    assert called(enrich_answer, "enrich_answer", renditions=["x"], questions=(), context=CONTEXT) == [[]]


def test_an_implementation_may_take_fewer_arguments() -> None:
    @enrich.hookimpl
    def enrich_answer(questions: Any) -> Any:
        return [questions]

    assert called(enrich_answer, "enrich_answer", renditions=["x"], questions=(1,), context=CONTEXT) == [(1,)]


@pytest.mark.parametrize(
    "function",
    [lambda: [], lambda picture: [], lambda renditions: [], lambda rendition, extra: []],
    ids=["none", "picture", "renditions", "extra"],
)
def test_each_refuses_arguments_that_nobody_offers(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="takes 'rendition' and perhaps 'questions' and 'context', not"):
        enrich.each(function)


def test_each_keeps_the_functions_name_and_docstring() -> None:
    @enrich.each
    def enrich_tag(rendition: Any) -> Any:
        """Tags it."""

    assert (enrich_tag.__name__, enrich_tag.__doc__) == ("enrich_tag", "Tags it.")
    assert list(inspect.signature(enrich_tag).parameters) == ["renditions", "context"]


def test_questions_are_refused_where_the_hook_has_none() -> None:
    @enrich.hookimpl
    @enrich.each
    def enrich_tag(rendition: Any, questions: Any) -> Any:
        return []

    with pytest.raises(pluggy.PluginValidationError, match="questions"):
        called(enrich_tag, "enrich_tag", renditions=[], context=CONTEXT)
