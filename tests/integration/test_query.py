"""``enrich query``: reads, and certainly does nothing else."""

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from catalog_kit import Catalog, file, picture, said, step

from enrich.catalog.engine import create_engine, writing
from enrich.catalog.query import Rows, query
from enrich.errors import CatalogMissing, QueryError

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    catalog.sync(step("a"))
    catalog.ingest(*(file(f"{number}.png", picture(f"hash {number}", camera="100 %")) for number in range(9)))
    catalog.annotate(1, "a", said("caption", text="A dog.\nBig."))
    return catalog


def ask(catalog: Catalog, sql: str, **limits: float) -> Rows:
    return query(catalog.engine, sql, **{"max_rows": 100, "max_seconds": 20, **limits})


def content(catalog: Catalog) -> str:
    """All that is stored: the file's bytes on SQLite, every row on PostgreSQL."""
    if catalog.engine.dialect.name == "sqlite":
        catalog.engine.dispose()  # with the last connection the log goes into the file
        return hashlib.sha256(Path(catalog.engine.url.database or "").read_bytes()).hexdigest()
    tables = catalog.column(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
    )
    sequences = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
    return repr(
        [
            catalog.rows(f"SELECT * FROM {table} ORDER BY 1, 2")
            for table in tables
            if table != "alembic_version"
        ]
    ) + repr(catalog.rows(sequences))


def test_rows_and_columns(filled: Catalog) -> None:
    found = ask(filled, " SELECT id, camera AS c FROM assets ORDER BY id; ")
    assert found.columns == ("id", "c")
    assert found.rows[:2] == [(1, "100 %"), (2, "100 %")]
    assert not found.is_cut
    assert ask(filled, "SELECT 1 WHERE 1 = 0") == Rows(
        ("1",) if _is_lite(filled) else ("?column?",), [], False
    )


def test_row_limit(filled: Catalog) -> None:
    for limit, is_cut in ((8, True), (9, False)):
        found = ask(filled, "SELECT id FROM files ORDER BY id", max_rows=limit)
        assert (len(found.rows), found.is_cut) == (limit, is_cut)


@pytest.mark.parametrize("condition", ["'%0 \\%%' ESCAPE '\\'", "'%s'", "'%(x)s'", "'100 %'"])
def test_percent_is_only_itself(filled: Catalog, condition: str) -> None:
    (row,) = ask(filled, f"SELECT count(*) FROM assets WHERE camera LIKE {condition}").rows
    assert row == (9 if "0 " in condition else 0,)


def test_comments_and_a_trailing_semicolon(filled: Catalog) -> None:
    assert ask(filled, "-- how many\nSELECT count(*) FROM assets; -- thanks").rows == [(9,)]


REFUSED = [
    "INSERT INTO runs (id) VALUES (1)",
    "UPDATE files SET state = 'missing'",
    "UPDATE files SET state = 'missing' RETURNING id",
    "DELETE FROM annotations",
    "DROP VIEW captions",
    "CREATE TABLE x (y INTEGER)",
    "ALTER TABLE files ADD COLUMN x INTEGER",
    "WITH gone AS (DELETE FROM annotations RETURNING id) SELECT * FROM gone",
    "WITH x AS (SELECT 1) INSERT INTO runs (id) SELECT * FROM x",
    "SELECT 1; DELETE FROM annotations",
    "SELECT 1; COMMIT; DELETE FROM annotations",
    "SELECT 1; ROLLBACK; BEGIN; DELETE FROM annotations; COMMIT; SELECT 1",
    "SELECT 1) TO STDOUT; COMMIT; DELETE FROM annotations; --",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "ANALYZE",
    "",
    "  ; ",
    "SELECT '\0'",
]
REFUSED_BY_SQLITE = [
    "ATTACH 'other.db' AS other",
    "DETACH main",
    "PRAGMA user_version = 9",
    "PRAGMA journal_mode = DELETE",
    "SELECT * FROM pragma_journal_mode('delete')",
    "VACUUM INTO 'copy.db'",
    "SELECT load_extension('x')",
    "SAVEPOINT x",
    "REINDEX",
    "CREATE TEMP TABLE x (y)",
    "CREATE TEMP TRIGGER x AFTER UPDATE ON files BEGIN SELECT 1; END",
    "REPLACE INTO counters VALUES ('', 'present', 0, 0)",
]
REFUSED_BY_POSTGRESQL = [
    "COPY files TO PROGRAM 'touch copied'",
    "COPY (SELECT 1) TO '/tmp/copied'",
    "COPY files TO STDOUT",
    "SELECT 1 AS x INTO y",
    "DO $$ BEGIN DELETE FROM annotations; END $$",
    "SET default_transaction_read_only = off",
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT nextval('files_id_seq')",
    "SELECT setval('files_id_seq', 99)",
    "SELECT * FROM files FOR UPDATE",
    "SELECT lo_create(0)",
    "CALL nothing()",
    "EXECUTE nothing",
    "PREPARE x AS DELETE FROM annotations",
    "LOCK TABLE files",
    "NOTIFY x",
    "TRUNCATE annotations CASCADE",
    "CREATE TEMP TABLE x (y INTEGER)",
    "EXPLAIN ANALYZE DELETE FROM annotations",
]


def test_what_is_no_reading_is_refused(
    filled: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = content(filled), sorted({*os.listdir(), "catalog.db-shm", "catalog.db-wal"})
    own = REFUSED_BY_SQLITE if _is_lite(filled) else REFUSED_BY_POSTGRESQL
    for sql in [*REFUSED, *own]:
        with pytest.raises(QueryError) as raised:
            ask(filled, sql)
        assert "\n" not in str(raised.value), sql
        assert raised.value.exit_code == 2
    assert (content(filled), sorted({*os.listdir(), "catalog.db-shm", "catalog.db-wal"})) == before
    assert ask(filled, "SELECT count(*) FROM captions").rows == [(1,)], "and reading goes on"


def test_time_limit(filled: Catalog) -> None:
    slow = [ENDLESS] if _is_lite(filled) else [ENDLESS, "SELECT pg_sleep(20)", _UNLIMITED]
    for sql in slow:
        started = time.monotonic()
        with pytest.raises(QueryError, match=re.escape("more than 0.3 s")):
            ask(filled, sql, max_seconds=0.3)
        assert time.monotonic() - started < 5


_UNLIMITED = "SELECT set_config('statement_timeout', '0', false), pg_sleep(20)"


def test_one_value_cannot_take_all_memory(filled: Catalog) -> None:
    if not _is_lite(filled):
        pytest.skip("SQLite only: one function call of it cannot be interrupted")
    with pytest.raises(QueryError, match="too big"):
        ask(filled, "SELECT hex(zeroblob(500000000))")


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM nothing", "SELEC 1", "SELECT nothing FROM files", "SELECT :x"]
)
def test_a_wrong_statement_is_told_in_a_line(filled: Catalog, sql: str) -> None:
    with pytest.raises(QueryError, match=r"docs/catalog\.md") as raised:
        ask(filled, sql)
    assert "\n" not in str(raised.value)


def test_no_catalog(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(CatalogMissing, match="enrich run"):
        query(engine, "SELECT 1", max_rows=1, max_seconds=1)
    assert not (tmp_path / "none.db").exists()


def test_reading_waits_for_no_writer(filled: Catalog) -> None:
    with writing(filled.engine).begin() as connection:
        connection.execute(sa.text("UPDATE files SET state = 'missing'"))
        assert ask(filled, "SELECT DISTINCT state FROM files", max_seconds=5).rows == [("present",)]
        connection.rollback()


def test_on_the_command_line(
    filled: Catalog, enrich: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    url = filled.engine.url.render_as_string(hide_password=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        done = enrich("query", *arguments, env={**os.environ, "ENRICH_CATALOG": url})
        return done.returncode, done.stdout, done.stderr

    captions = "SELECT asset_id, path, text, language FROM captions"
    code, out, err = run("DELETE FROM files")
    assert (code, out, err[:8]) == (2, "", "enrich: ")
    code, out, err = run(captions, "--format", "json")
    row = {"asset_id": 1, "path": "/pictures/0.png", "text": "A dog.\nBig.", "language": None}
    assert (code, json.loads(out), err) == (0, [row], "")
    if not _is_lite(filled):
        return  # the other forms are made of the same rows
    code, out, err = run(captions, "--format", "csv")
    assert (code, err) == (0, "")
    assert list(csv.reader(io.StringIO(out, newline=""))) == [list(row), [str(v or "") for v in row.values()]]
    code, out, err = run("SELECT path, state FROM overview ORDER BY path", "--limit", 1)
    assert code == 0
    assert out.split()[:2] == ["path", "state"]
    assert out.split()[-2:] == ["/pictures/0.png", "present"]
    assert err == "enrich: only the first 1 rows; raise --limit for more\n"


def _is_lite(catalog: Catalog) -> bool:
    return catalog.engine.dialect.name == "sqlite"
