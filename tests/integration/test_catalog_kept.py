"""What is kept of requests: beside the steps' annotations, and in nobody's way."""

import dataclasses

from catalog_kit import NOW, Catalog, file, said, step

from enrich.catalog import kept
from enrich.catalog.kept import MadeBy

MADE_BY = MadeBy("enrich_caption", "caption", "1", "vlm", "7", {"length": "long"}, "digest")


def keep(catalog: Catalog, item: str, text: str, made_by: MadeBy = MADE_BY, **columns: object) -> int:
    row = said("caption", item=item, text=text, **columns)
    return catalog.write(kept.annotate, 1, row, made_by, run_id=catalog.run_id, now=NOW)


def find(catalog: Catalog, image_hash: str, item: str) -> kept.Said | None:
    with catalog.engine.connect() as connection:
        return kept.find(connection, image_hash, item)


def test_what_is_kept_is_found_by_picture_and_item(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "two"))
    keep(catalog, "1-a", "A dog.", language="en", confidence=0.5, data={"type": "string", "value": None})
    found = find(catalog, "one", "1-a")
    assert found == kept.Said(1, "caption", "A dog.", {"type": "string", "value": None}, 0.5, "en")
    assert find(catalog, "one", "2-a") is None
    assert find(catalog, "two", "1-a") is None
    with catalog.engine.connect() as connection:
        assert [kept.asset_of(connection, name) for name in ("one", "two", "three")] == [1, 2, None]


def test_what_is_said_again_takes_the_place_of_its_own_item_only(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"))
    keep(catalog, "1-a", "A dog.")
    keep(catalog, "1-b", "A cat.")
    keep(catalog, "1-a", "A red dog.")
    current = "SELECT item, text FROM annotations WHERE superseded_at IS NULL ORDER BY item"
    assert [tuple(row.values()) for row in catalog.rows(current)] == [
        ("1-a", "A red dog."),
        ("1-b", "A cat."),
    ]
    assert catalog.column("SELECT count(*) FROM annotations") == [3]


def test_steps_and_requests_leave_each_other_alone(catalog: Catalog) -> None:
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"))
    catalog.annotate(1, "a", said("caption", text="A dog."))
    keep(catalog, "1-a", "A cat.")
    catalog.annotate(1, "a", said("caption", text="A red dog."))
    current = "SELECT step, text FROM captions ORDER BY step"
    assert [tuple(row.values()) for row in catalog.rows(current)] == [("a", "A red dog."), ("api", "A cat.")]
    assert catalog.column("SELECT step FROM coverage") == ["a"]
    assert catalog.column("SELECT is_stale FROM captions WHERE step = 'api'") in ([False], [0])


def test_a_generator_is_written_once_and_tags_go_with_their_annotation(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"))
    keep(catalog, "1-a", "x", tags=(("dog", 0.5), ("cat", None)))
    keep(catalog, "1-b", "x")
    keep(catalog, "1-c", "x", dataclasses.replace(MADE_BY, options_digest="other"))
    assert catalog.column("SELECT count(*) FROM generators") == [2]
    tags = catalog.rows("SELECT annotation_id, name, confidence FROM tags ORDER BY name")
    assert [tuple(row.values()) for row in tags] == [(1, "cat", None), (1, "dog", 0.5)]


def test_what_a_database_cannot_hold_is_cleaned(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"))
    keep(catalog, "1-a", "nul \0 and \ud800", data={"value": "\0", "confidence": float("nan")})
    found = find(catalog, "one", "1-a")
    assert found is not None
    assert found.text is not None
    assert "\0" not in found.text
