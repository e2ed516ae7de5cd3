"""The schema: made once, whoever comes first, and equal to the models and to what was promised."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import alembic.command
import enrich.migrations
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from catalog_kit import Catalog, file, step

from enrich.catalog import schema
from enrich.catalog.engine import create_engine, writing
from enrich.catalog.query import query
from enrich.errors import CatalogError, CatalogMissing, ConfigError

# What was promised of each table; it may have more.
TABLES = {
    "files": "id asset_id root path path_digest folder size_bytes modified_ns changed_ns inode sha256 sha1 "
    "media_type state error_kind error attempts seen_at missing_at",
    "assets": "id image_hash perceptual_hash media_type width_px height_px orientation pages taken_at "
    "taken_offset_minutes camera latitude longitude embedded ingested_at",
    "steps": "name hook plugin model generator_id options is_active trouble paused_until",
    "jobs": "id asset_id step state reason attempts priority retry_at lease_expires_at worker error_kind "
    "error created_at updated_at",
    "generators": "id hook plugin plugin_revision model model_revision options options_digest",
    "generator_items": "generator_id item made_by",
    "runs": "id kind started_at ended_at version host",
    "annotations": "id asset_id step item page generator_id run_id kind text data confidence language "
    "question is_empty provider elapsed_ms created_at superseded_at",
    "tags": "annotation_id asset_id name confidence",
    "embeddings": "annotation_id asset_id generator_id dimensions vector",
    "roots": "path state reason mode device owner folders watches events_seen events_lost rescued scanned_at "
    "updated_at",
    "controls": "name changed_at",
    "api_keys": "id name prefix secret_sha256 scopes minute_limit hour_limit credits created_at revoked_at",
    "usage": "id key_id at dialect kind model pictures prompt_tokens completion_tokens cost status is_cached "
    "elapsed_ms",
    "uploads": "id uuid key_id path file_name media_type size_bytes sha256 sha1 asset_id created_at "
    "expires_at",
    "api_tasks": "id key_id task_uuid task_key task_type body_digest body state result cost is_async "
    "webhook_url created_at finished_at expires_at attempts lease_expires_at worker",
    "task_uploads": "task_id upload_id",
    "deliveries": "id key_id task_id asset_id url host body created_at attempts next_at delivered_at "
    "failed_at error",
}
# And of each view; these are for people, who see exactly this.
PROVENANCE = " step model created_at is_stale"
VIEWS = {
    "captions": "asset_id path text language" + PROVENANCE,
    "answers": "asset_id path item question text value number" + PROVENANCE,
    "ages": "asset_id path age_group low_years high_years confidence persons" + PROVENANCE,
    "asset_tags": "asset_id path tag confidence" + PROVENANCE,
    "texts": "asset_id path text" + PROVENANCE,
    "overview": "path state caption tags age_group text taken_at camera asset_id",
    "coverage": "step pending running done skipped failed stale",
    "failures": "path asset_id step attempts error_kind error",
    "key_usage": "key_id name day requests failed cached pictures prompt_tokens completion_tokens cost",
    "webhooks": "id key_name host state attempts error created_at next_at ended_at task_id asset_id",
}


def test_tables_and_views_are_the_promised_ones(engine: sa.Engine) -> None:
    found = sa.inspect(engine)
    assert set(found.get_view_names()) == set(VIEWS)
    assert set(found.get_table_names()) == {*TABLES, "counters", "alembic_version"}
    for table, columns in TABLES.items():
        assert set(columns.split()) <= {column["name"] for column in found.get_columns(table)}, table
    for view, columns in VIEWS.items():
        assert columns.split() == [column["name"] for column in found.get_columns(view)], view


@pytest.fixture
def own_engine(catalog_url: str) -> Iterator[sa.Engine]:
    """A catalog that is ready, and whose schema the test may spoil."""
    engine = create_engine(catalog_url)
    schema.ensure(engine)
    yield engine
    engine.dispose()


def test_models_equal_migrations(own_engine: sa.Engine) -> None:
    engine = own_engine
    assert schema.differences(engine) == []
    with writing(engine).begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_files_asset_id"))
        connection.execute(sa.text("ALTER TABLE runs ADD COLUMN mood TEXT"))
    assert len(schema.differences(engine)) == 2, "a difference is found"


def test_head_is_the_newest_revision() -> None:
    scripts = ScriptDirectory(str(Path(enrich.migrations.__file__).parent))
    assert scripts.get_heads() == [schema.HEAD]


def test_upgrade_from_empty_and_again(catalog_url: str) -> None:
    engine = create_engine(catalog_url)
    assert schema.revision(engine) is None
    schema.upgrade(engine)
    schema.upgrade(engine)
    schema.ensure(engine)
    assert schema.revision(engine) == schema.HEAD
    engine.dispose()


def upgrade_to(engine: sa.Engine, revision: str) -> None:
    with writing(engine).begin() as connection:
        alembic.command.upgrade(schema._config(connection), revision)


#: One row of each table of the first release.
FIRST_RELEASE = """
    INSERT INTO assets (id, image_hash, media_type, width_px, height_px, pages, ingested_at)
        VALUES (7, 'hash', 'image/png', 8, 6, 1, '2026-01-02');
    INSERT INTO files (id, asset_id, root, path, path_digest, folder, size_bytes, modified_ns, changed_ns,
            inode, state, seen_at)
        VALUES (3, 7, '/p', '/p/a.png', 'digest', '/p', 9, 1, 1, 1, 'missing', '2026-01-02');
    INSERT INTO generators VALUES (1, 'enrich_tag', 'tags', '1', '', '', '{}', '0');
    INSERT INTO steps (name, hook, plugin, model, generator_id, options, priority, position, is_active)
        VALUES ('tags', 'enrich_tag', 'tags', '', 1, '{}', 0, 0, true);
    INSERT INTO runs VALUES (1, 'run', '2026-01-02', NULL, '0', 'here');
    INSERT INTO jobs (id, asset_id, step, state, attempts, priority, generator_id, created_at, updated_at)
        VALUES (5, 7, 'tags', 'done', 1, 0, 1, '2026-01-02', '2026-01-02');
    INSERT INTO annotations (id, asset_id, step, item, page, generator_id, run_id, kind, text, is_empty,
            created_at)
        VALUES (1, 7, 'tags', '', 0, 1, 1, 'caption', 'A dog, 100 %', false, '2026-01-02');
    INSERT INTO tags VALUES (1, 'dog', 7, 0.5);
    INSERT INTO counters VALUES ('', 'missing', 0, 1), ('tags', 'done', 1, 1)
"""


def test_upgrade_from_the_first_release_keeps_every_row(catalog_url: str) -> None:
    engine = create_engine(catalog_url)
    upgrade_to(engine, "0001")
    with writing(engine).begin() as connection:
        for statement in FIRST_RELEASE.split(";"):
            connection.execute(sa.text(statement))
    found = sa.inspect(engine)
    tables = sorted({*TABLES, "counters"} & set(found.get_table_names()))
    views = found.get_view_names()

    def rows() -> dict[str, list[dict[str, object]]]:
        with engine.connect() as connection:
            return {
                table: [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()]
                for table in (*tables, *views)
            }

    before = rows()
    assert [table for table in tables if not before[table]] == ["embeddings"]
    schema.upgrade(engine)
    assert schema.revision(engine) == schema.HEAD
    assert schema.differences(engine) == []
    after = rows()
    assert after["files"][0].pop("missing_at") is None
    assert [after["steps"][0].pop(name) for name in ("trouble", "paused_until")] == [None, None]
    assert after == before
    with pytest.raises(sa.exc.IntegrityError), writing(engine).begin() as connection:
        connection.execute(sa.text("DELETE FROM assets"))  # foreign keys hold as before
    engine.dispose()


def test_numbers_of_assets_and_jobs_are_not_given_twice(catalog: Catalog) -> None:
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"))
    with writing(catalog.engine).begin() as connection:
        for table in ("files", "jobs", "assets", "counters"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    catalog.ingest(file("b.png", "two"))
    assert catalog.rows("SELECT id, asset_id FROM jobs") == [{"id": 2, "asset_id": 2}]


def test_processes_that_start_at_once_make_one_schema(catalog_url: str) -> None:
    make = (
        "import sys; from enrich.catalog import schema; from enrich.catalog.engine import create_engine\n"
        "sys.stdin.readline(); schema.ensure(create_engine(sys.argv[1]))"
    )
    command = [sys.executable, "-c", make, catalog_url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate("go\n", timeout=60)[1] for process in processes] == ["", ""]
    engine = create_engine(catalog_url)
    assert schema.differences(engine) == []
    engine.dispose()


def test_an_older_schema_is_not_touched(own_engine: sa.Engine) -> None:
    with writing(own_engine).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(CatalogMissing, match=r"at 0000, this version needs .*; say: enrich db upgrade"):
        schema.ensure(own_engine)


def test_db_upgrade_and_check(
    catalog_url: str, enrich: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    environment = {**os.environ, "ENRICH_CATALOG": catalog_url}
    upgrade = enrich("db", "upgrade", env=environment)
    assert (upgrade.returncode, upgrade.stdout) == (0, f"empty -> {schema.HEAD}\n")

    engine = create_engine(catalog_url)
    with writing(engine).begin() as connection:
        connection.execute(sa.text("INSERT INTO counters VALUES ('', 'present', 0, 7)"))
    engine.dispose()
    check = enrich("db", "check", env=environment)
    assert (check.returncode, check.stdout) == (1, "counter files present (generator 0): says 7, is 0\n")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("catalog.db", ConfigError, "is not a database URL"),
        ("mysql://localhost/x", ConfigError, "mysql is not a catalog"),
        ("sqlite://", ConfigError, "in memory would be lost"),
        ("sqlite:////dev/null/catalog.db", CatalogMissing, "no place for the catalog"),
        ("sqlite:////proc/catalog.db", CatalogMissing, "unable to open database"),
        ("postgresql+psycopg://nobody@127.0.0.1:9/none", CatalogMissing, "is `catalog` right"),
    ],
)
def test_a_catalog_that_cannot_be_opened_says_so_in_a_line(url: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        schema.ensure(create_engine(url))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("a letter, and a long one, to nobody in particular " * 50)
    with pytest.raises(CatalogError, match="not a database"):
        schema.ensure(create_engine(f"sqlite:///{tmp_path / 'catalog.db'}"))


def test_every_column_is_documented(engine: sa.Engine) -> None:
    page = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", page, flags=re.MULTILINE | re.DOTALL))
    found = sa.inspect(engine)
    relations = {*found.get_table_names(), *found.get_view_names()} - {"alembic_version"}
    assert set(sections) == relations
    for name, text in sections.items():
        cells = re.findall(r"^\| ([\w, ]+) \|", text, flags=re.MULTILINE)[1:]
        documented = [column for cell in cells for column in cell.split(", ")]
        assert sorted(documented) == sorted(column["name"] for column in found.get_columns(name)), name


def test_the_documented_queries_run(catalog: Catalog) -> None:
    page = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
    statements = re.findall(r"^    (SELECT .*?)\n\n", page, flags=re.MULTILINE | re.DOTALL)
    assert len(statements) == 5
    for statement in statements:
        query(catalog.engine, statement, max_rows=10, max_seconds=10)
