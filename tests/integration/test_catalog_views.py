"""What people see: every view over annotations written by hand, on both databases."""

import datetime as dt

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, Catalog, file, picture, said, step
from sqlalchemy.orm import Session

from enrich.catalog import files
from enrich.catalog.tables import Annotation

TAKEN_AT = dt.datetime(2020, 5, 6, 7, 8, 9)


@pytest.fixture
def described(catalog: Catalog) -> Catalog:
    """Asset 1 has two files, asset 2 one, and a file is none; each asset has all steps done."""
    catalog.sync(
        step("age", hook="enrich_age", model="ages"),
        step("caption", hook="enrich_caption", model="words"),
        step("facts", hook="enrich_answer"),
        step("ocr", hook="enrich_text"),
        step("tags"),
    )
    catalog.ingest(
        file("b.png", picture("one", taken_at=TAKEN_AT, camera="Box 1")),
        file("a.png", "one"),
        file("c.png", "two"),
        file("notes.txt"),
    )
    for asset in catalog.claim(names=["age", "caption", "facts", "ocr", "tags"]):
        catalog.finish(asset)
    return catalog


def test_captions(described: Catalog) -> None:
    described.annotate(1, "caption", said("caption", text="A dog.", language="en"))
    described.annotate(2, "caption", said("caption", is_empty=True))
    (row,) = described.rows("SELECT * FROM captions")
    assert row.pop("created_at") is not None
    assert row.pop("is_stale") in (False, 0)
    assert row == {
        "asset_id": 1,
        "path": "/pictures/a.png",
        "text": "A dog.",
        "language": "en",
        "step": "caption",
        "model": "words",
    }


def test_what_is_said_anew_replaces_what_was_said(described: Catalog) -> None:
    for hours, text in enumerate(("A dog.", "A cat.", "A cow.")):
        described.annotate(1, "caption", said("caption", text=text), now=NOW + dt.timedelta(hours=hours))
    assert described.column("SELECT text FROM captions") == ["A cow."]
    with Session(described.engine) as session:
        history = session.execute(
            sa.select(Annotation.text, Annotation.superseded_at).order_by(Annotation.id)
        )
        assert history.all() == [
            ("A dog.", NOW + dt.timedelta(hours=1)),
            ("A cat.", NOW + dt.timedelta(hours=2)),
            ("A cow.", None),
        ]


@pytest.mark.parametrize(
    ("value", "shown", "number"),
    [
        ("grey", "grey", None),
        ("7", "7", None),
        (True, "true", None),
        (False, "false", None),
        (3, "3", 3.0),
        (2.5, "2.5", 2.5),
        (None, None, None),
    ],
)
def test_answers_have_typed_values(
    described: Catalog, value: object, shown: str | None, number: float | None
) -> None:
    answer = {"question": "How many?", "text": "so many", "data": {"type": "any", "value": value}}
    described.annotate(1, "facts", said("answer", item="many", **answer))
    (row,) = described.rows("SELECT item, question, text, value, number FROM answers")
    assert row == {
        "item": "many",
        "question": "How many?",
        "text": "so many",
        "value": shown,
        "number": number,
    }


def test_ages(described: Catalog) -> None:
    adult = {"label": "21-44", "low_years": 21, "high_years": 44, "confidence": 0.75, "region": None}
    old = {"label": "70+", "low_years": 70.0, "high_years": None, "confidence": None, "region": None}
    described.annotate(1, "age", said("age", text="21-44", data=[adult, old], confidence=0.75))
    described.annotate(2, "age", said("age", text="70+", data=[old]))
    columns = "age_group, low_years, high_years, confidence, persons"
    assert [tuple(row.values()) for row in described.rows(f"SELECT {columns} FROM ages ORDER BY path")] == [
        ("21-44", 21, 44, 0.75, 2),
        ("70+", 70, None, None, 1),
    ]


def test_no_one_is_a_row_and_not_judged_is_none(described: Catalog) -> None:
    described.annotate(1, "age", said("age", data=[]))
    described.annotate(2, "age", said("age", is_empty=True))
    assert described.rows("SELECT asset_id, age_group, low_years, persons FROM ages") == [
        {"asset_id": 1, "age_group": None, "low_years": None, "persons": 0}
    ]


def test_asset_tags_join_all_pages(described: Catalog) -> None:
    described.annotate(
        1,
        "tags",
        said("tags", tags=[("dog", 0.5), ("red", None)]),
        said("tags", page=1, tags=[("dog", 0.75)]),
    )
    rows = described.rows("SELECT path, tag, confidence, step FROM asset_tags ORDER BY tag")
    assert [tuple(row.values()) for row in rows] == [
        ("/pictures/a.png", "dog", 0.75, "tags"),
        ("/pictures/a.png", "red", None, "tags"),
    ]
    described.annotate(1, "tags", said("tags", tags=[("cat", 1.0)]))
    assert described.column("SELECT tag FROM asset_tags") == ["cat"], "superseded tags do not show"


def test_texts_join_pages_in_order(described: Catalog) -> None:
    pages = {2: "three", 0: "one", 1: "two", 10: "eleven"}
    described.annotate(1, "ocr", *(said("text", page=page, text=text) for page, text in pages.items()))
    described.annotate(2, "ocr", said("text", is_empty=True))
    assert described.column("SELECT text FROM texts") == ["one\ntwo\nthree\neleven"]


def test_overview_has_a_row_per_file(described: Catalog) -> None:
    described.annotate(1, "caption", said("caption", text="A dog."))
    described.annotate(1, "tags", said("tags", tags=[("red", 0.5), ("dog", 0.75)]))
    described.annotate(1, "age", said("age", text="0-2", data=[{"label": "0-2"}]))
    described.annotate(1, "ocr", said("text", page=1, text="Fido"), said("text", text="Beware of"))
    rows = described.rows("SELECT path, state, caption, tags, age_group, text FROM overview ORDER BY path")
    one = ("present", "A dog.", "dog, red", "0-2", "Beware of\nFido")
    assert [tuple(row.values()) for row in rows] == [
        ("/pictures/a.png", *one),
        ("/pictures/b.png", *one),
        ("/pictures/c.png", "present", None, None, None, None),
        ("/pictures/notes.txt", "ignored", None, None, None, None),
    ]
    camera = "SELECT camera FROM overview ORDER BY path"
    assert described.column(camera) == [None, None, None, None], "a.png was read last and names none"
    described.ingest(file("b.png", picture("one", taken_at=TAKEN_AT, camera="Box 1")))
    assert described.column(camera) == ["Box 1", "Box 1", None, None]


def test_coverage_counts_states_and_what_is_stale(described: Catalog) -> None:
    described.sync(step("tags", options_digest="new"), step("later", priority=5))
    (asset,) = described.claim(names=["later"], limit=1)
    assert described.rows("SELECT * FROM coverage") == [
        {"step": "tags", "pending": 0, "running": 0, "done": 2, "skipped": 0, "failed": 0, "stale": 2},
        {"step": "later", "pending": 1, "running": 1, "done": 0, "skipped": 0, "failed": 0, "stale": 0},
    ]
    described.finish(asset, "failed", error_kind="plugin_failed", error="it raised")
    (asset,) = described.claim(names=["later"])
    described.finish(asset, "skipped", reason="outside_domain")
    assert described.rows("SELECT * FROM coverage WHERE step = 'later'") == [
        {"step": "later", "pending": 0, "running": 0, "done": 0, "skipped": 1, "failed": 1, "stale": 0}
    ]


def test_failures_are_files_and_jobs(described: Catalog) -> None:
    described.sync(step("later"))
    for asset in described.claim(names=["later"], limit=1):
        described.finish(asset, "failed", error_kind="plugin_failed", error="it raised")
    described.ingest(file("broken.png", state="failed", error_kind="broken", error="cut off"))
    rows = described.rows("SELECT * FROM failures ORDER BY path")
    assert [tuple(row.values()) for row in rows] == [
        ("/pictures/a.png", 1, "later", 1, "plugin_failed", "it raised"),
        ("/pictures/broken.png", None, None, 1, "broken", "cut off"),
    ]


def test_stale_when_the_generator_changes_and_fresh_when_it_is_back(described: Catalog) -> None:
    for name, view, kind, facts in (
        ("caption", "captions", "caption", {"text": "A dog."}),
        ("facts", "answers", "answer", {"item": "q", "data": {"type": "string", "value": "x"}}),
        ("age", "ages", "age", {"data": []}),
        ("tags", "asset_tags", "tags", {"tags": [("dog", None)]}),
        ("ocr", "texts", "text", {"text": "Fido"}),
    ):
        described.sync(step(name))
        described.annotate(1, name, said(kind, **facts))
        for row, is_stale in (
            (step(name), False),
            (step(name, options_digest="1"), True),
            (step(name, plugin_revision="2"), True),
            (step(name), False),
        ):
            described.sync(row)
            assert described.column(f"SELECT is_stale FROM {view}") == [is_stale], view
    described.sync()
    assert described.column("SELECT is_stale FROM captions") == [False], "a removed step makes nothing stale"


def test_a_missing_file_is_nobodys_path(described: Catalog) -> None:
    described.annotate(1, "caption", said("caption", text="A dog."))
    ids = described.column("SELECT id FROM files WHERE path = '/pictures/a.png'")
    assert described.write(files.mark_missing, ids, NOW) == 1
    assert described.column("SELECT path FROM captions") == ["/pictures/b.png"]
    described.write(files.mark_missing, described.column("SELECT id FROM files"), NOW)
    assert described.column("SELECT path FROM captions") == [None], "the caption stays"


def test_instants_come_back_as_they_went(described: Catalog) -> None:
    ingested = described.column("SELECT ingested_at FROM assets LIMIT 1")[0]
    if isinstance(ingested, str):
        ingested = dt.datetime.fromisoformat(ingested)
    assert ingested == NOW
