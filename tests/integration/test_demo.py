"""``enrich demo`` as a user runs it: in a process of its own, to the end, or interrupted, or broken."""

import contextlib
import hashlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from workplace import wait_until

from enrich.drawings.poster import draw_poster

pytestmark = pytest.mark.timeout(500)

#: Makes an installation of the base package alone, without its extras: as if these were not there.
BARE = """
import sys

for name in ("onnxruntime", "rapidocr", "tokenizers"):
    sys.modules[name] = None
"""
README = Path(__file__).resolve().parents[2] / "README.md"

#: What the story says when it has come so far that its daemon works.
BEGUN = "sign.png is dropped"
#: It shares its processors with other tests.
PATIENCE_SECONDS = 450


class Told:
    """A running demo: its process, what it said so far, and the folder of its temporary files."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def story(self) -> str:
        return (self.folder.parent / "story.txt").read_text(encoding="utf-8")

    @property
    def catalog(self) -> Path:
        (catalog,) = self.folder.glob("enrich-demo-*/catalog.db")
        return catalog

    def wait_until_begun(self) -> None:
        wait_until(lambda: BEGUN in self.story, self.process, seconds=PATIENCE_SECONDS)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was said on stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, errors


@contextlib.contextmanager
def telling(
    tmp_path: Path, *arguments: object, is_bare: bool = True, stdout: int | None = None
) -> Iterator[Told]:
    """Tell the story, into a file unless said; it is told sooner where no model is."""
    folder = tmp_path / "t"
    folder.mkdir()
    (tmp_path / "sitecustomize.py").write_text(BARE if is_bare else "")
    command = [sys.executable, "-m", "enrich", "demo", *map(str, arguments)]
    with (
        (tmp_path / "story.txt").open("w") as story,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(tmp_path)},
            stdout=story if stdout is None else stdout,
            stderr=subprocess.PIPE,
            text=True,
            # As a shell does: Ctrl-C reaches the demo and its children, and nobody else.
            start_new_session=True,
            # A suite that was started in the background ignores it, and so would its children.
            preexec_fn=heed_interrupts,  # no thread of ours holds a lock here
        ) as process,
    ):
        try:
            yield Told(process, folder)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        # Others come and go meanwhile, and those of other users do not say where they are.
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
    return found


def test_the_story_comes_to_its_end_and_no_original_is_touched(tmp_path: Path) -> None:
    for package in ("onnxruntime", "rapidocr", "tokenizers"):
        pytest.importorskip(package, reason="the extras cpu and ocr are not installed")
    photographs = take_photographs(tmp_path / "photographs")
    before = fingerprints(photographs)
    with telling(tmp_path, "--keep", photographs, is_bare=False) as told:
        assert told.end() == (0, "")
    assert fingerprints(photographs) == before
    assert processes_in(tmp_path) == []

    story = told.story
    in_order = (
        BEGUN,
        "child.jpg is dropped",
        "enrich ask",
        "kill -9",
        "annotations, none lost, none twice",
        "0 inferences",
        "24 jobs, all of the new steps",
        "exactly its answers are stale",
        "half copied.jpg: broken",
        "SELECT * FROM overview",
        "SIGTERM",
        "enrich run over 5 of 5",
        "4 originals read, and byte for byte as before",
        "SELECT count(*) FROM texts",
        "of 3 refused by drawings-vlm",
        "The demo's models know drawings",
    )
    places = [story.find(text) for text in in_order]
    assert -1 not in places, in_order[places.index(-1)]
    assert places == sorted(places)
    assert f"kept: {told.catalog.parent}" in story
    check_readme(story)
    check_kept(told.catalog, story)


def take_photographs(folder: Path) -> Path:
    """Make pictures that are nobody's samples: one is a poster with text, one lies in a folder below."""
    (folder / "older").mkdir(parents=True)
    poster, _ = draw_poster(random.Random(5), 640)
    poster.save(folder / "poster.jpg", quality=92)
    noise = random.Random(6)
    for name, size in (("lake.jpg", (640, 427)), ("older/hill.jpg", (427, 640))):
        # Fine noise upon coarse noise: no drawing looks so.
        small = PIL.Image.frombytes("RGB", (32, 32), noise.randbytes(32 * 32 * 3))
        fine = PIL.Image.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3))
        PIL.Image.blend(small.resize(size), fine, 0.3).save(folder / name, quality=92)
    (folder / "notes.txt").write_text("not a picture")
    (folder / "torn.jpg").write_bytes((folder / "lake.jpg").read_bytes()[:9_000])
    (folder / "unplugged.jpg").symlink_to(folder / "no disk" / "there.jpg")
    for path in folder.rglob("*"):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)
    return folder


def fingerprints(folder: Path) -> dict[Path, tuple[int, str]]:
    """Everything below a folder: when it was written, and its bytes."""
    return {
        path: (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest(),
        )
        for path in [folder, *folder.rglob("*")]
    }


def check_readme(story: str) -> None:
    """What the README shows of the story is told, but for figures and what models say."""

    def masked(line: str) -> str:
        return re.sub(r"\d+", "#", re.sub(r"[\d.]+ (ms|s|min)\b", "# s", line)).rstrip()

    (shown,) = re.findall(r"```text\n\$ make demo\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    told = {masked(line) for line in story.splitlines()}
    sentences = [line for line in shown.splitlines() if line[:1].isalpha() and not line.endswith("...")]
    assert len(sentences) > 10
    assert [line for line in sentences if masked(line) not in told] == []


def check_kept(catalog: Path, story: str) -> None:
    """Compare what was told with the catalog that it was told of."""
    with contextlib.closing(sqlite3.connect(catalog)) as connection:

        def rows(statement: str) -> list[tuple[object, ...]]:
            return connection.execute(statement).fetchall()

        said = dict(rows("SELECT path, caption FROM overview WHERE state = 'present'"))
        assert len(said) == 12
        assert all(said.values())
        assert f"caption:       {said[str(catalog.parent / 'inbox' / 'sign.png')]}" in story
        assert rows("SELECT item, count(*), sum(is_stale) FROM answers GROUP BY item ORDER BY item") == [
            ("circle", 12, 0),
            ("people", 12, 12),
        ]
        assert rows("SELECT count(*) FROM annotations WHERE superseded_at IS NOT NULL") == [(0,)]
        assert rows("SELECT error_kind FROM failures") == [("broken",)]
        for tag, count in rows("SELECT tag, count(*) FROM asset_tags WHERE step = 'light' GROUP BY tag"):
            assert re.search(rf"^ {tag} +{count} *$", story, re.MULTILINE)


def test_without_the_extras_it_is_told_without_their_steps_and_says_so(tmp_path: Path) -> None:
    with telling(tmp_path) as told:
        assert told.end() == (0, "")
    left = re.findall(r"\(left out: onnxruntime is not installed, so there is no step (.+)\)", told.story)
    assert left == ["caption, facts, age, tags", "ocr"]
    assert "24 annotations, none lost, none twice" in told.story
    assert "12 jobs, all of the new steps" in told.story
    for text in ("enrich ask", "caption:", "are stale", "age_group", "drawings-"):
        assert text not in told.story
    assert list(told.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_process_and_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    with telling(tmp_path) as told:
        told.wait_until_begun()
        assert len(processes_in(told.folder)) == 1
        if number == signal.SIGINT:
            os.killpg(told.process.pid, number)
        else:
            told.process.send_signal(number)
        code, errors = told.end()
        assert (code, errors.strip()) == (130, "")
        assert processes_in(told.folder) == []
    assert list(told.folder.iterdir()) == []


def test_a_reader_that_goes_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    with telling(tmp_path, stdout=subprocess.PIPE) as told:
        assert told.process.stdout is not None
        for line in told.process.stdout:
            if line.startswith(BEGUN):
                break
        assert len(processes_in(told.folder)) == 1
        told.process.stdout.close()
        assert told.process.wait(PATIENCE_SECONDS) == 130
        assert told.process.stderr is not None
        assert told.process.stderr.read() == ""
        assert processes_in(told.folder) == []
    assert list(told.folder.iterdir()) == []


def test_a_daemon_that_dies_breaks_the_story(tmp_path: Path) -> None:
    with telling(tmp_path) as told:
        told.wait_until_begun()
        (daemon,) = processes_in(told.folder)
        os.kill(daemon, signal.SIGKILL)
        code, errors = told.end()
    assert code == 1
    assert re.fullmatch(r"enrich: not as promised: enrich watch ended with -9: .+\n", errors)
    assert list(told.folder.iterdir()) == []


def test_a_broken_promise_is_said_and_is_an_exit_code(tmp_path: Path) -> None:
    with telling(tmp_path) as told:
        told.wait_until_begun()
        # As if something had been said again that was said already.
        with contextlib.closing(sqlite3.connect(told.catalog, timeout=30)) as connection, connection:
            first = "(SELECT min(id) FROM annotations)"
            connection.execute(f"UPDATE annotations SET superseded_at = created_at WHERE id = {first}")
        code, errors = told.end()
    assert (code, errors) == (1, "enrich: not as promised: 1 annotations were made twice\n")
    assert "none twice" not in told.story
    assert processes_in(tmp_path) == []
    assert list(told.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere", "letters"])
def test_a_path_without_pictures_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("no picture")
    with telling(tmp_path, tmp_path / name) as told:
        code, errors = told.end()
    assert code == 2
    assert re.fullmatch(rf"enrich: {re.escape(str(tmp_path / name))}: no .+\n", errors)
    assert told.story == ""
    assert list(told.folder.iterdir()) == []
