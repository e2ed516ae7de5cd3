"""What is kept of requests: pictures as assets, answers as annotations, found again by what was asked."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
from served import ALICE, BOB, Speaker, place, png

from enrich import app
from enrich.api.kept import items_of
from enrich.api.requests import Ask, Picture
from enrich.catalog import browse, report
from enrich.types import Decoding


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with place(tmp_path, cost={"speaker": 0.5}) as made:
        yield made


def shown(here: Any, caller: Any = ALICE, colour: tuple[int, int, int] = (200, 10, 10)) -> tuple[Picture]:
    received = here.pictures.receive(caller).__enter__()
    return (received.chunks([png(colour)], "square.png"),)


def test_nothing_is_kept_unless_it_is_asked_for(here: Any, tmp_path: Path) -> None:
    service = here.service(Speaker("speaker"))
    for _ in range(2):
        assert not service.answer(Ask("caption", shown(here))).is_cached
    assert here.rows("SELECT * FROM assets") == []
    assert not (tmp_path / "uploads" / "kept").exists()


def test_the_same_question_is_answered_out_of_the_catalog(here: Any) -> None:
    model = Speaker("speaker", lambda prompt: f"seen {len(model.asked)}")
    service = here.service(model)
    ask = Ask("answer", shown(here), prompt="What?", keep=True, caller=ALICE)
    first, second = service.answer(ask), service.answer(dataclasses.replace(ask, pictures=shown(here)))
    assert (first.is_cached, second.is_cached) == (False, True)
    assert (first.text, first.cost) == (second.text, 0.5) == ("seen 1", 0.5)
    assert second.cost == 0.0
    for other in (
        dataclasses.replace(ask, prompt="What else?"),
        dataclasses.replace(ask, decoding=Decoding(max_tokens=1)),
        dataclasses.replace(ask, kind="caption", prompt=None),
        dataclasses.replace(ask, pictures=shown(here, colour=(1, 2, 3))),
        dataclasses.replace(ask, caller=BOB),
    ):
        assert not service.answer(other).is_cached
    assert here.rows("SELECT count(*) AS n FROM assets") == [{"n": 2}]


def test_a_kept_picture_is_an_asset_with_its_annotation(here: Any, tmp_path: Path) -> None:
    service = here.service(Speaker("speaker", lambda prompt: "A red square."))
    service.answer(Ask("caption", shown(here), keep=True, caller=ALICE))
    (row,) = here.rows(
        "SELECT a.step, a.kind, a.text, a.language, a.provider, f.path, f.state, r.kind AS run, g.model "
        "FROM annotations a JOIN files f ON f.asset_id = a.asset_id JOIN runs r ON r.id = a.run_id "
        "JOIN generators g ON g.id = a.generator_id"
    )
    path = Path(row.pop("path"))
    assert path.read_bytes() == png()
    assert path.is_relative_to(tmp_path / "uploads" / "kept")
    assert path.suffix == ".png"
    assert row == {
        "step": "api",
        "kind": "caption",
        "text": "A red square.",
        "language": "en",
        "provider": "CPUExecutionProvider",
        "state": "present",
        "run": "api",
        "model": "speaker",
    }
    assert here.rows("SELECT text FROM captions") == [{"text": "A red square."}]
    assert report.miscounted(here.engine) == []


def test_a_kept_picture_is_described_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "config.yaml").write_text("steps: {colors: {plugin: colors}}")
    with place(tmp_path, keep=True) as here:
        built = app.build(here.settings, bundled_only=True)
        try:
            built.run([tmp_path / "inbox"], stop=threading.Event())
            with here.pictures.receive(ALICE) as received:
                picture = received.chunks([png()], "square.png")
                here.service(Speaker("speaker")).answer(Ask("caption", (picture,)))
            assert here.rows("SELECT step, state FROM jobs") == [{"step": "colors", "state": "pending"}]
            # Done at once: its file is as it was catalogued.
            assert built.run([tmp_path / "inbox"], stop=threading.Event()).jobs == {"done": 1}
        finally:
            built.close()
        assert here.rows("SELECT step, state FROM jobs") == [{"step": "colors", "state": "done"}]
        assert here.rows("SELECT step FROM annotations ORDER BY step") == [
            {"step": "api"},
            {"step": "colors"},
        ]


def test_data_and_tags_come_back_as_they_were(here: Any) -> None:
    judge, tagger = Speaker("judge"), Speaker("tagger")
    judge.hooks, judge.labels = ("enrich_age",), ("21-44", "no one")
    tagger.hooks, tagger.labels = ("enrich_tag",), ("cat", "dog")
    service = here.service(judge, tagger)
    for ask in (
        Ask("age", shown(here), model="judge", keep=True),
        Ask("tag", shown(here), model="tagger", keep=True),
        Ask("phrases", shown(here), model="tagger", keep=True, prompt="one, two"),
    ):
        first, second = service.answer(ask), service.answer(ask)
        assert second.is_cached
        assert (second.text, second.data, second.model) == (first.text, first.data, first.model)


def test_several_pictures_are_kept_each(here: Any) -> None:
    service = here.service(Speaker("speaker"))
    both = shown(here) + shown(here, colour=(9, 9, 9))
    ask = Ask("answer", both, prompt="What?", keep=True)
    first, second = service.answer(ask), service.answer(ask)
    assert (second.is_cached, second.text) == (True, first.text)
    assert service.answer(dataclasses.replace(ask, pictures=both[:1])).is_cached
    twice = dataclasses.replace(ask, pictures=shown(here, colour=(7, 7, 7)) * 2)
    assert service.answer(twice).text == first.text


def test_what_a_key_asked_is_told_to_that_key_only(here: Any) -> None:
    service = here.service(Speaker("speaker"))
    for caller, prompt in ((ALICE, "Is it Alice's?"), (BOB, "Is it Bob's?")):
        service.answer(Ask("answer", shown(here), prompt=prompt, keep=True, caller=caller))
    with here.engine.connect() as connection:
        for caller, prompt in ((ALICE, "Is it Alice's?"), (BOB, "Is it Bob's?")):
            own = browse.statements(connection, 1, "api", items=items_of(caller))
            assert [said["question"] for said in own] == [prompt]


def test_an_asset_is_sent_by_whoever_sent_it(here: Any, tmp_path: Path) -> None:
    from enrich.catalog import uploads

    asset_id = here.kept.take(shown(here)[0], ALICE)
    assert here.kept.take(shown(here)[0], ALICE) == asset_id
    with here.engine.connect() as connection:
        assert uploads.has_sent(connection, ALICE.key_id, asset_id)
        assert not uploads.has_sent(connection, BOB.key_id, asset_id)
    assert here.kept.take(shown(here, BOB)[0], BOB) == asset_id
    assert len(list((tmp_path / "uploads" / "kept").rglob("*.png"))) == 2


def test_a_full_quota_keeps_nothing_and_answers_all_the_same(tmp_path: Path) -> None:
    with place(tmp_path, upload_quota_bytes=10) as here:
        service = here.service(Speaker("speaker"))
        for _ in range(2):
            reply = service.answer(Ask("caption", shown(here), keep=True))
            assert (reply.text, reply.is_cached) == ("a red square", False)
        assert list((tmp_path / "uploads" / "kept").rglob("*.png")) == []
        assert here.rows("SELECT * FROM files") == []


def test_the_setting_says_what_is_kept_by_default(tmp_path: Path) -> None:
    with place(tmp_path, keep=True) as here:
        service = here.service(Speaker("speaker"))
        service.answer(Ask("caption", shown(here), keep=False))
        assert not service.answer(Ask("caption", shown(here))).is_cached
        assert service.answer(Ask("caption", shown(here))).is_cached
