"""The same picture elsewhere, or with other metadata: nothing is described again."""

import os
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from workplace import Workplace

COUNT = 100


def with_metadata(jpeg: bytes, description: str) -> bytes:
    """Return a JPEG with EXIF and IPTC of its own in front of its scans, which stay as they are."""
    exif = PIL.Image.Exif()
    exif[0x010E] = description
    dataset = b"\x1c\x02\x78" + struct.pack(">H", len(description)) + description.encode()
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + struct.pack(">I", len(dataset)) + dataset
    iptc += b"\0" * (len(dataset) % 2)
    segments = [(b"\xff\xe1", exif.tobytes()), (b"\xff\xed", iptc)]
    return jpeg[:2] + b"".join(mark + struct.pack(">H", len(s) + 2) + s for mark, s in segments) + jpeg[2:]


@pytest.fixture
def moved(place: Workplace) -> Workplace:
    """A hundred JPEGs, described."""
    for number in range(COUNT):
        noise = random.Random(number).randbytes(16 * 16 * 3)
        PIL.Image.frombytes("RGB", (16, 16), noise).save(place.inbox / f"{number:03}.jpg")
    assert place.run().jobs == {"done": COUNT}
    return place


def described(place: Workplace) -> list[dict[str, Any]]:
    return place.rows("SELECT * FROM jobs ORDER BY id") + place.rows("SELECT * FROM annotations ORDER BY id")


def originals(place: Workplace) -> list[Path]:
    return sorted(place.inbox.glob("*.jpg"))


def check_nothing_was_described(place: Workplace, before: list[dict[str, Any]]) -> None:
    assert described(place) == before
    assert place.column("SELECT count(*) FROM assets") == [COUNT]


def test_copies_moves_and_renames(moved: Workplace) -> None:
    before = described(moved)
    (moved.inbox / "copies").mkdir()
    for path in originals(moved):
        shutil.copy2(path, moved.inbox / "copies" / path.name)
    assert moved.run().jobs == {}
    assert moved.states() == {"present": 2 * COUNT}

    (moved.inbox / "moved").mkdir()
    for path in originals(moved):
        os.rename(path, moved.inbox / "moved" / f"renamed-{path.name}")
    progress = moved.run()
    assert (progress.missing, progress.files["present"], progress.jobs) == (COUNT, COUNT, {})
    assert moved.states() == {"present": 2 * COUNT, "missing": COUNT}
    check_nothing_was_described(moved, before)
    rows = moved.rows("SELECT path, state FROM files ORDER BY path")
    assert {row["state"] for row in rows if Path(row["path"]).parent == moved.inbox} == {"missing"}

    shutil.rmtree(moved.inbox / "copies")
    progress = moved.run()
    assert (progress.missing, progress.failed) == (COUNT, 0)
    paths = moved.column("SELECT path FROM asset_tags")
    assert {Path(path).parent.name for path in paths} == {"moved"}
    check_nothing_was_described(moved, before)

    os.rename(moved.inbox / "moved", moved.inbox / "back")
    progress = moved.run()
    assert (progress.missing, progress.files["present"], progress.jobs) == (COUNT, COUNT, {})
    check_nothing_was_described(moved, before)


def test_metadata_rewritten(moved: Workplace) -> None:
    before = described(moved)
    hashes = set(moved.column("SELECT sha256 FROM files"))
    for path in originals(moved):
        path.write_bytes(with_metadata(path.read_bytes(), f"Number {path.stem}"))
    progress = moved.run()
    assert (progress.files["present"], progress.jobs, progress.missing) == (COUNT, {}, 0)
    check_nothing_was_described(moved, before)
    assert not hashes & set(moved.column("SELECT sha256 FROM files"))
    rows = moved.rows(
        "SELECT path, CAST(embedded AS TEXT) AS said FROM files JOIN assets a ON a.id = asset_id"
    )
    assert [row["path"] for row in rows if f"Number {Path(row['path']).stem}" not in row["said"]] == []
    assert moved.run().files["unchanged"] == COUNT


def test_another_picture_under_the_same_name_is_another_asset(moved: Workplace) -> None:
    path = moved.inbox / "007.jpg"
    PIL.Image.new("RGB", (9, 9), (200, 0, 0)).save(path)
    progress = moved.run()
    assert (progress.files["present"], progress.jobs) == (1, {"done": 1})
    (row,) = moved.rows(f"SELECT asset_id, state FROM files WHERE path = '{path}'")
    assert row == {"asset_id": COUNT + 1, "state": "present"}
    assert moved.column("SELECT count(*) FROM asset_tags") == [COUNT + 1], (
        "what was said of the old one stays"
    )


def test_a_touched_file_is_read_again_and_that_is_all(moved: Workplace) -> None:
    before = described(moved)
    os.utime(moved.inbox / "007.jpg")
    progress = moved.run()
    assert (progress.files["present"], progress.files["unchanged"]) == (1, COUNT - 1)
    check_nothing_was_described(moved, before)
