"""Captions that are put together of phrases, ranked by the bundled dual encoder."""

import random
from typing import Any

import pydantic
import pytest
from enrich.plugins import phrases
from workplace import Workplace

from enrich.drawings.scenes import draw_scene
from enrich.drawings.wording import all_tags, true_tags

HELD_OUT_SEED = 2_000_000
TAGS = all_tags("en")
GROUPS = {
    "what": [tag for tag in TAGS if " " not in tag],
    "where": [tag for tag in TAGS if tag.endswith("background")],
}


def test_the_likeliest_phrase_of_each_group_makes_the_caption(lite_place: Workplace) -> None:
    true = {}
    for number in range(6):
        image, scene = draw_scene(random.Random(HELD_OUT_SEED + number), 200)
        image.save(lite_place.inbox / f"{number}.png")
        true[f"{number}.png"] = true_tags(scene, "en")
    step: dict[str, Any] = {"plugin": "phrases", "model": "drawings-clip", "phrases": GROUPS}
    lite_place.config["steps"] = {"caption": {**step, "joint": " on a ", "threshold": 0}}
    assert lite_place.run().failed == 0
    rows = lite_place.rows("SELECT path, text, language FROM captions")
    assert len(rows) == 6
    for row in rows:
        what, where = row["text"].split(" on a ")
        assert {what, where} <= set(true[row["path"].rsplit("/", 1)[-1]])
        assert row["language"] == "en"


def test_of_a_group_that_nothing_fits_nothing_is_said(lite_place: Workplace) -> None:
    draw_scene(random.Random(HELD_OUT_SEED), 200)[0].save(lite_place.inbox / "scene.png")
    step: dict[str, Any] = {"plugin": "phrases", "model": "drawings-clip", "phrases": GROUPS, "threshold": 1}
    lite_place.config["steps"] = {"caption": step}
    assert lite_place.run().failed == 0
    assert lite_place.rows("SELECT kind, is_empty FROM annotations") == [{"kind": "caption", "is_empty": 1}]


@pytest.mark.parametrize(
    ("groups", "complaint"),
    [
        ({}, "one group at least"),
        ({"what": ["one"]}, "what: a group needs two"),
        ({"what": ["one", "one"]}, "each of them once"),
        ({"what": ["one", ""]}, "at least 1 character"),
    ],
)
def test_groups_that_can_rank_nothing_are_refused(groups: dict[str, list[str]], complaint: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=complaint):
        phrases.Options(phrases=groups)


def test_a_model_that_ranks_nothing_is_refused(lite_place: Workplace) -> None:
    step = {"plugin": "phrases", "model": "drawings-vlm", "phrases": {"what": ["one", "two"]}}
    lite_place.config["steps"] = {"caption": step}
    ran = lite_place.enrich("run")
    assert ran.returncode == 2
    assert "phrases: the model drawings-vlm cannot score labels" in ran.stderr
