"""Whatever lies in a folder: a recorded failure or ignored, and never its neighbours' trouble."""

import ctypes
import json
import os
import re
import socket
import stat
import struct
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import PIL.Image
import pytest
from workplace import Workplace

from enrich.catalog.clean import escape_path, unescape_path
from enrich.catalog.writer import Writer
from enrich.intake import Intake
from enrich.reading import Reader
from enrich.scan import Candidate

#: Of linux/capability.h and linux/prctl.h.
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24

VANISH = """
import pathlib
import enrich

@enrich.hookimpl
@enrich.each
def enrich_data(rendition):
    (rendition.path.parent / "0002.png").unlink(missing_ok=True)
    return {"seen": True}
"""


OPENER = """
import enrich

@enrich.hookimpl
def enrich_open(path, media_type):
    raise RuntimeError("cannot")
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claimed_huge() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


def odd_exif() -> bytes:
    """A JPEG whose EXIF holds NUL, undecodable bytes, and positions that are no number."""
    exif = PIL.Image.Exif()
    exif[0x010E] = "title\x00with\x00NUL"
    exif[0x0110] = b"\xff\xfe\x00camera".decode("latin-1")
    exif.get_ifd(0x8825).update({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)})
    written = exif.tobytes()
    zero = struct.pack(">II", 0, 1)
    assert zero in written
    return written.replace(zero, bytes(8))  # 0/0


def fill(inbox: Path) -> dict[str, tuple[str, str | None]]:
    """Put everything odd into a folder; return state and error_kind by name."""
    picture = PIL.Image.new("RGB", (64, 64), (200, 100, 50))
    picture.save(inbox / "good.png")
    picture.rotate(90).save(inbox / "odd-exif.jpg", exif=odd_exif())
    png, jpeg = (inbox / "good.png").read_bytes(), (inbox / "odd-exif.jpg").read_bytes()
    (inbox / "zero.jpg").touch()
    (inbox / "cut.jpg").write_bytes(jpeg[: len(jpeg) * 2 // 3])
    (inbox / "cut.png").write_bytes(png[:-40])
    (inbox / "header-only.png").write_bytes(png[:20])
    (inbox / "wrong-extension.jpg").write_bytes(png)
    (inbox / "page.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (inbox / "notes.txt").write_text("no picture, and not named like one")
    (inbox / "huge.png").write_bytes(claimed_huge())
    os.mkfifo(inbox / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(inbox / "socket.jpg"))
    (inbox / "device.jpg").symlink_to("/dev/zero")
    (inbox / "loop.jpg").symlink_to("loop.jpg")
    (inbox / "nowhere.jpg").symlink_to("not-there.jpg")
    (inbox / "link.jpg").symlink_to("good.png")
    (inbox / "up").symlink_to(inbox)
    (inbox / "new\nline.png").write_bytes(png)
    (inbox / os.fsdecode(b"undecodable-\xff.png")).write_bytes(png)
    link = ("ignored", "symlink")
    return {
        "good.png": ("present", None),
        "odd-exif.jpg": ("present", None),
        "zero.jpg": ("failed", "empty"),
        "cut.jpg": ("failed", "broken"),
        "cut.png": ("failed", "broken"),
        "header-only.png": ("failed", "broken"),
        "wrong-extension.jpg": ("present", None),
        "page.jpg": ("failed", "not_a_picture"),
        "notes.txt": ("ignored", None),
        "huge.png": ("failed", "too_large"),
        "pipe.jpg": ("failed", "not_regular"),
        "socket.jpg": ("failed", "not_regular"),
        "device.jpg": link,
        "loop.jpg": link,
        "nowhere.jpg": link,
        "link.jpg": link,
        "up": link,
        "new\nline.png": ("present", None),
        os.fsdecode(b"undecodable-\xff.png"): ("present", None),
    }


def found(place: Workplace) -> dict[str, tuple[str, str | None]]:
    rows = place.rows("SELECT path, state, error_kind FROM files")
    return {unescape_path(row["path"]).name: (row["state"], row["error_kind"]) for row in rows}


def test_a_folder_full_of_trouble(place: Workplace) -> None:
    expected = fill(place.inbox)
    done = place.enrich("run")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "\n" not in done.stdout.replace("\\n", "").splitlines()[0]
    assert found(place) == expected
    assert all(place.column("SELECT error FROM files WHERE state = 'failed'"))
    odd = "FROM assets a JOIN files f ON f.asset_id = a.id WHERE f.path LIKE '%odd-exif.jpg'"
    assert place.column(f"SELECT latitude {odd}") == [None]
    place.check_counters()
    asset_ids = place.column("SELECT DISTINCT asset_id FROM files WHERE state = 'present' ORDER BY asset_id")
    assert place.column("SELECT DISTINCT asset_id FROM asset_tags ORDER BY asset_id") == asset_ids
    assert set(place.states("jobs")) <= {"done", "skipped"}

    progress = place.run()
    assert (progress.failed, progress.jobs, progress.missing) == (0, {}, 0), "known, and not tried again"
    assert found(place) == expected


def test_links_are_followed_where_asked_and_loops_end(place: Workplace) -> None:
    expected = fill(place.inbox)
    other = place.folder / "other"
    other.mkdir()
    PIL.Image.new("RGB", (9, 9), (1, 2, 3)).save(other / "linked.png")
    (place.inbox / "linked").symlink_to(other)
    (other / "back").symlink_to(place.inbox)
    place.config["roots"][0]["follow_symlinks"] = True
    progress = place.run()
    del expected["up"]
    changed = {
        "device.jpg": ("failed", "not_regular"),
        "loop.jpg": ("failed", "unreadable"),
        "link.jpg": ("present", None),
        "linked.png": ("present", None),
    }
    assert found(place) == {**expected, **changed}
    assert progress.failed == sum(state == "failed" for state, _ in found(place).values())


def test_a_file_that_vanishes_before_it_is_decoded(place: Workplace) -> None:
    place.plugin("vanish", VANISH)
    place.config |= {"steps": {"vanish": {"plugin": "vanish"}}, "batch_size": 1, "max_attempts": 1}
    place.draw_many(2)
    place.run()
    place.draw_many(9)
    progress = place.run()
    assert (progress.jobs["done"], progress.jobs["failed"], progress.missing) == (6, 0, 1)
    assert place.rows("SELECT * FROM failures") == [], "it is missing, and nobody failed"
    waiting = place.rows("SELECT attempts FROM jobs WHERE state = 'pending'")
    assert waiting == [{"attempts": 0}], "its job waits for it to come back, with all its attempts"
    assert place.run().missing == 0


def test_a_file_that_vanishes_before_it_is_read(place: Workplace) -> None:
    gone, link, good = place.draw("gone.png"), place.inbox / "link.png", place.draw("good.png", (1, 2, 3))
    link.symlink_to(gone)
    candidates = [Candidate(place.inbox, path, path.stat()) for path in (gone, link, good)]
    gone.unlink()
    place.run(good)
    writer = Writer(place.engine)
    counted: Counter[str] = Counter()
    try:
        taken = Intake(writer, Reader(max_pixels=10**6), threads=2, on_written=counted.update)
        taken.start()
        assert all(taken.offer(candidate, 0) for candidate in candidates)
        assert taken.wait_idle(60)
        taken.stop()
    finally:
        writer.close()
    assert counted == {"present": 1, "ignored": 1}, (
        "the link is a link to nowhere; of the file nothing is left"
    )
    place.check_counters()


def without_override() -> None:
    """Let root be bound by permissions like everybody: in the child, before it becomes the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) and os.geteuid() == 0:
            os._exit(77)


def test_no_permission(lite_place: Workplace) -> None:
    closed, folder = lite_place.draw("closed.png", (1, 2, 3)), lite_place.inbox / "closed"
    lite_place.draw("good.png")
    lite_place.draw("closed/inside.png", (4, 5, 6))
    lite_place.run()
    lite_place.draw("closed.png", (7, 8, 9))
    closed.chmod(0)
    folder.chmod(0)
    try:
        first, second = (lite_place.enrich("run", preexec_fn=without_override) for _ in range(2))
    finally:
        folder.chmod(stat.S_IRWXU)
    if first.returncode == 77:
        pytest.skip("root cannot give up reading everything here")
    assert (first.returncode, second.returncode) == (1, 1), (first.stderr, second.stderr)
    assert "Traceback" not in first.stderr + second.stderr
    assert "now missing" not in second.stdout
    assert found(lite_place) == {
        "closed.png": ("failed", "unreadable"),
        "closed": ("failed", "unreadable"),
        "good.png": ("present", None),
        "inside.png": ("present", None),
    }
    lite_place.check_counters()


def watch_memory(pid: int, peaks: list[int]) -> None:
    """Note a process's peak of resident memory until it ends.

    Not by its resource usage: there a process starts with the peak of the one that forked it.
    """
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        if found is None:  # a zombie
            return
        peaks.append(int(found[1]) * 1024)
        time.sleep(0.02)


def test_real_broken_files(lite_place: Workplace, eval_data: Path) -> None:
    lite_place.enrich("db", "upgrade")
    with lite_place.enriching("run", eval_data / "broken", "--json") as process:
        output, errors = process.stdout, process.stderr
        assert output is not None
        assert errors is not None
        reader = threading.Thread(target=errors.read)
        reader.start()
        peaks: list[int] = []
        watcher = threading.Thread(target=watch_memory, args=(process.pid, peaks))
        watcher.start()
        document = json.loads(output.read())
        reader.join()
        process.wait(20)
        watcher.join()
    assert process.returncode == 1
    assert len(peaks) > 5
    assert max(peaks) < 1.5e9
    on_disk = [path for path in (eval_data / "broken").rglob("*") if not path.is_dir()]
    assert sum(count for state, count in document["files"].items() if state != "unchanged") == len(on_disk)
    assert sorted(lite_place.column("SELECT path FROM files")) == sorted(map(escape_path, on_disk))
    lite_place.check_counters()


def test_an_opener_that_raises_costs_its_file_only(place: Workplace) -> None:
    place.plugin("opener", OPENER)
    place.draw("good.png")
    (place.inbox / "photo.nef").write_bytes(b"II*\0\x08\0\0\0" + bytes(200))
    progress = place.run()
    assert (progress.files["present"], progress.files["failed"], progress.jobs) == (1, 1, {"done": 1})
    assert found(place)["photo.nef"][0] == "failed"
