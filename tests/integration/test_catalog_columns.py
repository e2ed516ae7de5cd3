"""Values that SQL cannot hold, through the database and back."""

import datetime as dt
import math
import os
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from catalog_kit import NOW, ROOT, Catalog, file, picture, said, step
from sqlalchemy.orm import Session

from enrich.catalog import files, report
from enrich.catalog.clean import escape_path
from enrich.catalog.tables import Annotation, Asset, File


def test_text_loses_nul_and_lone_surrogates_only(catalog: Catalog) -> None:
    camera = "Bo\x00x \ud83d \U0001f600 ü \x1b"
    catalog.ingest(file("a.png", picture("one", camera=camera)))
    assert catalog.column("SELECT camera FROM assets") == ["Bo\ufffdx \ufffd \U0001f600 ü \x1b"]


def test_json_is_plain(catalog: Catalog) -> None:
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"))
    data = {
        "nan": math.nan,
        "inf": [math.inf, -math.inf, 1.5],
        "nul\x00": "a\x00b\udcff",
        "numpy": np.float32(0.5),
        "array": np.arange(3),
        "flag": np.bool_(True),
        "bytes": b"\x00\xff",
        7: (1, None, {"deep": {math.nan}}),
        "path": Path("/x"),
    }
    catalog.annotate(1, "a", said("data", data=data))
    with Session(catalog.engine) as session:
        assert session.scalars(sa.select(Annotation.data)).one() == {
            "nan": None,
            "inf": [None, None, 1.5],
            "nul\ufffd": "a\ufffdb\ufffd",
            "numpy": 0.5,
            "array": [0, 1, 2],
            "flag": True,
            "bytes": "00ff",
            "7": [1, None, {"deep": [None]}],
            "path": "/x",
        }


def test_no_data_is_null_and_empty_data_is_not(catalog: Catalog) -> None:
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"), file("b.png", "two"))
    catalog.annotate(1, "a", said("age", data=None))
    catalog.annotate(2, "a", said("age", data=[]))
    assert catalog.column("SELECT data IS NULL FROM annotations ORDER BY asset_id") == [True, False]


NAMES = [
    b"plain.png",
    b"with\nnewline.png",
    b"undecodable-\xff\xfe.png",
    b"back\\slash-\\xff.png",
    b"surrogate-\xed\xa0\x80.png",
    "ünïcödé-\U0001f600.png".encode(),
    b"/".join([b"f" * 250] * 16) + b".png",
]


def test_every_path_comes_back(catalog: Catalog) -> None:
    names = [os.fsdecode(name) for name in NAMES]
    assert len(os.fsencode(ROOT / names[-1])) > 4000
    catalog.ingest(*(file(name, f"hash {number}") for number, name in enumerate(names)))
    catalog.ingest(*(file(name, f"hash {number}") for number, name in enumerate(names)))
    with catalog.engine.connect() as connection:
        folders = sorted({escape_path((ROOT / name).parent) for name in names})
        found = files.known(connection, folders)
    by_folder = {escape_path(ROOT / name): escape_path((ROOT / name).parent) for name in names}
    assert {path: row.folder for rows in found.values() for path, row in rows.items()} == by_folder
    catalog.sync(step("a"))
    assert {asset.path for asset in catalog.claim()} == {ROOT / name for name in names}
    for name in names:
        kind, row_id = report.find(catalog.engine, str(ROOT / name))
        assert kind == "file"
        assert report.show(catalog.engine, kind, row_id)["file"]["path"] == escape_path(ROOT / name)


def test_numbers_of_64_bits(catalog: Catalog) -> None:
    after_2262 = 12_000_000_000 * 10**9
    record = file("a.png", "one", inode=2**64 - 1, modified_ns=after_2262, size_bytes=2**62)
    catalog.ingest(record)
    assert catalog.rows("SELECT inode, size_bytes FROM files") == [{"inode": -1, "size_bytes": 2**62}]
    with catalog.engine.connect() as connection:
        ((row,),) = (known.values() for known in files.known(connection, [str(ROOT)]).values())
    seen = {"st_mtime_ns": after_2262, "st_ctime_ns": 1}
    zeros = (0, 0, 0, 0, 0, 0, 2**62, 0, 0, 0)
    assert row.is_unchanged(os.stat_result(zeros, seen))
    assert not row.is_unchanged(os.stat_result(zeros, {**seen, "st_mtime_ns": after_2262 + 1}))


def test_instants_are_aware_and_come_back_in_utc(catalog: Catalog) -> None:
    east = NOW.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
    catalog.ingest(file("a.png", "one"), now=east)
    with Session(catalog.engine) as session:
        found = session.scalars(sa.select(File.seen_at)).one()
    assert (found, found.tzinfo) == (NOW, dt.UTC)
    with pytest.raises(sa.exc.StatementError, match="no time zone"):
        catalog.ingest(file("b.png", "two"), now=NOW.replace(tzinfo=None))
    assert catalog.column("SELECT count(*) FROM files") == [1], "nothing of it was written"


def test_instants_compare_as_they_are_ordered(catalog: Catalog) -> None:
    instants = [NOW, NOW.replace(microsecond=0), NOW + dt.timedelta(days=20_000), NOW - dt.timedelta(1)]
    for number, instant in enumerate(instants):
        catalog.ingest(file(f"{number}.png", f"hash {number}"), now=instant)
    with Session(catalog.engine) as session:
        ordered = session.scalars(sa.select(File.seen_at).order_by(File.seen_at)).all()
        early = session.scalars(sa.select(File.seen_at).where(File.seen_at < NOW)).all()
    assert ordered == sorted(instants)
    assert sorted(early) == sorted(instants)[:2]


def test_taken_at_stays_local(catalog: Catalog) -> None:
    taken_at = dt.datetime(1999, 12, 31, 23, 59, 59)
    catalog.ingest(file("a.png", picture("one", taken_at=taken_at, taken_offset_minutes=-570)))
    with Session(catalog.engine) as session:
        asset = session.scalars(sa.select(Asset)).one()
    assert (asset.taken_at, asset.taken_offset_minutes) == (taken_at, -570)


def test_relations_are_never_loaded_behind_the_back(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"))
    with Session(catalog.engine) as session:
        asset = session.scalars(sa.select(Asset)).one()
        with pytest.raises(sa.exc.InvalidRequestError, match="lazy"):
            _ = asset.files
