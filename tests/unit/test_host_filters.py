"""Filters: they are asked before any step, batch by batch, and nothing passes where one fails."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from enrich.plugins import moderate
from served import Speaker

import enrich
from enrich.errors import ConfigError, EnrichError, PluginMissing
from enrich.host import Filters, Host
from enrich.host.discovery import Candidate
from enrich.settings import Step
from enrich.types import Rendition, Skip


def rendition(number: int = 0) -> Rendition:
    return Rendition(number, None, 0, np.full((4, 4, 3), number, np.uint8), 4, 4, 4, 4)


def enrich_tag(renditions: Any) -> Any:
    return [()] * len(renditions)


def host_of(**plugins: Callable[..., Any]) -> Host:
    host = Host()
    for name, function in plugins.items():
        module = types.ModuleType(name)
        setattr(module, function.__name__, enrich.hookimpl(function))
        host.register(module, Candidate(name, name, None, None, lambda: None))
    host.filters = Filters.bind(host, {}, None)
    return host


def refusing(*numbers: int, calls: list[Any] | None = None) -> Callable[..., Any]:
    """A filter that refuses some renditions by their number."""

    def enrich_moderate(renditions: Any, prompt: Any) -> Any:
        if calls is not None:
            calls.append(([one.asset_id for one in renditions], prompt))
        return [f"no {one.asset_id}" if one.asset_id in numbers else None for one in renditions]

    return enrich_moderate


def failing(*numbers: int) -> Callable[..., Any]:
    def enrich_moderate(renditions: Any) -> Any:
        if any(one.asset_id in numbers for one in renditions):
            raise RuntimeError("no eyes")
        return [None] * len(renditions)

    return enrich_moderate


def test_without_filters_everything_passes() -> None:
    assert host_of(say=enrich_tag).filters.look([rendition(), rendition()], "prompt") == [None, None]


def test_every_plugin_with_the_hook_is_asked_and_the_first_refusal_counts() -> None:
    calls: list[Any] = []
    host = host_of(first=refusing(2), second=refusing(2, 3, calls=calls))
    assert host.filters.look([rendition(n) for n in (1, 2, 3)], "why") == [None, Skip("no 2"), Skip("no 3")]
    assert calls == [([1, 3], "why")]


def test_a_filter_that_fails_refuses_that_picture_and_no_other() -> None:
    look = host_of(blind=failing(2)).filters.look([rendition(n) for n in (1, 2, 3)])
    assert isinstance(look[1], EnrichError)
    assert "blind" in str(look[1])
    assert (look[0], look[2]) == (None, None)


@pytest.mark.parametrize("returned", [[7], [True], [""], ["x" * 500], [], "no", None, [None, None]])
def test_what_is_no_reason_is_a_failure_and_lets_nothing_pass(returned: Any) -> None:
    def enrich_moderate(renditions: Any) -> Any:
        return returned

    (outcome,) = host_of(odd=enrich_moderate).filters.look([rendition()])
    assert isinstance(outcome, EnrichError)


# The bundled one


def bound(model: Speaker, **options: Any) -> Host:
    host = Host()
    host.register(moderate, Candidate("moderate", "moderate", None, None, lambda: None))
    step = Step.model_validate({"plugin": "moderate", "model": model.name, **options})
    handle: Any = model
    host.filters = Filters.bind(host, {"decent": step}, lambda name: handle)
    return host


def classifier(*labels: str) -> Speaker:
    """One whose labels have the confidences 1/2, 1/4, 1/8, ..."""
    model = Speaker("judge")
    model.labels = labels
    return model


@pytest.mark.parametrize(
    ("labels", "threshold", "outcome"),
    [
        (["nude"], 0.5, Skip("nude")),
        (["nude"], 0.51, None),
        (["gore"], 0.2, Skip("gore")),
        (["gore", "nude"], 0.2, Skip("nude")),
        (["gore", "arms"], 0.3, None),
    ],
)
def test_the_likeliest_blocked_label_is_the_reason(labels: list[str], threshold: float, outcome: Any) -> None:
    host = bound(classifier("nude", "gore", "arms", "harmless"), labels=labels, threshold=threshold)
    assert host.filters.look([rendition()]) == [outcome]
    assert host.filters.look([]) == []


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            classifier("nude"),
            {"labels": ["nudity"]},
            r"filters\.decent: .*knows no \"nudity\"; it knows: nude",
        ),
        (classifier("nude"), {"labels": []}, r"filters\.decent\.labels: "),
        (classifier("nude"), {"labels": ["nude"], "treshold": 1}, r"filters\.decent\.treshold: unknown key"),
        (Speaker("judge"), {"labels": ["nude"]}, "needs a classifier"),
    ],
)
def test_a_filter_that_cannot_work_is_an_error_at_the_start(model: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bound(model, **options)


def test_only_filters_are_filters() -> None:
    host = host_of(say=enrich_tag, guard=refusing(1))
    with pytest.raises(ConfigError, match=r"filters\.a\.plugin: say is no filter; there are: guard"):
        Filters.bind(host, {"a": Step(plugin="say")}, None)
    with pytest.raises(PluginMissing, match=r"filters\.a\.plugin: no plugin nobody"):
        Filters.bind(host, {"a": Step(plugin="nobody")}, None)


def test_the_bundled_one_is_at_work_only_where_it_is_configured() -> None:
    host = Host()
    host.register(moderate, Candidate("moderate", "moderate", None, None, lambda: None))
    assert Filters.bind(host, {}, None).bound == ()
    assert Path(moderate.__file__).name == "moderate.py"
