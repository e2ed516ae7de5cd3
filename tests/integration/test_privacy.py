"""docs/privacy.md: what it says to erase ages with leaves none."""

import datetime as dt
import re
import sqlite3
from pathlib import Path

import pytest
from catalog_kit import NOW, Catalog, file, said, step

from enrich.catalog import deliveries, tasks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "privacy.md"

#: Of SQLite; what is said of PostgreSQL stands within a sentence.
STATEMENTS = re.findall(r"^ {4,}((?:DELETE|VACUUM|PRAGMA).*;)$", PAGE.read_text(), flags=re.MULTILINE)


@pytest.fixture
def judged(catalog: Catalog) -> Catalog:
    """An asset whose age stands wherever one can; the second time it was judged, it was another."""
    catalog.sync(step("age"), step("caption"), step("asking"))
    catalog.ingest(file("a.png", "one"))
    for label in ("Quokkayears", "Wombatyears"):
        catalog.annotate(1, "age", said("age", text=label, data=[{"label": label, "low_years": 4}]))
    catalog.annotate(1, "caption", said("caption", text="Zebra on a beach"))
    question = said("answer", item="who", text="Quokkayears?", question="Who is it, at Quokkayears?")
    catalog.annotate(1, "asking", question)
    catalog.write(
        tasks.accept,
        key_id=None,
        task_uuid="1",
        task_key="1",
        task_type="imageCaption",
        body_digest="0",
        body={"prompt": "Quokkayears"},
        is_async=True,
        now=NOW,
    )
    catalog.write(deliveries.add, url="https://example.org", body="Quokkayears", now=NOW, asset_id=1)
    return catalog


@pytest.mark.parametrize("database", ["sqlite"])
def test_no_age_is_left_and_all_else_is(judged: Catalog, tmp_path: Path) -> None:
    judged.engine.dispose()
    connection = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    assert len(STATEMENTS) == 6
    for statement in ("DELETE FROM annotations WHERE step = 'asking';", *STATEMENTS):
        connection.execute(statement).fetchall()
    connection.close()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.db*"))
    assert [word for word in (b"Quokkayears", b"Wombatyears") if word in left] == []
    assert judged.column("SELECT text FROM captions") == ["Zebra on a beach"]
    assert judged.column("SELECT state FROM jobs ORDER BY id") == ["done"] * 3, "it is not judged again"
    judged.ingest(file("b.png", "two"), now=NOW + dt.timedelta(days=1))  # the counters hold


def test_on_either_database_it_is_plain_sql(judged: Catalog) -> None:
    deletions = [statement for statement in STATEMENTS if statement.startswith("DELETE")]
    with judged.engine.begin() as connection:
        for statement in deletions:
            connection.exec_driver_sql(statement)
    assert judged.column("SELECT count(*) FROM ages") == [0]
    assert judged.column("SELECT count(*) FROM annotations WHERE kind = 'age'") == [0]
    assert judged.column("SELECT count(*) FROM api_tasks") == [0]
