"""One candidate read: a record, nothing, or the candidate again."""

import io
import os
import socket
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from enrich import reading
from enrich.catalog.files import FileRecord
from enrich.errors import FileError, FileUnreadable, FileVanished
from enrich.reading import Reader, look
from enrich.scan import Candidate


def png(colour: tuple[int, int, int] = (1, 2, 3)) -> bytes:
    content = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), colour).save(content, "png")
    return content.getvalue()


def candidate(path: Path, *, is_followed: bool = False) -> Candidate:
    return look(Candidate(path.parent, path, None, is_followed=is_followed))


def read(found: Candidate, *, is_last_try: bool = True) -> FileRecord | Candidate | None:
    return Reader(max_pixels=1000).read(found, is_last_try=is_last_try)


def record(found: Candidate) -> FileRecord:
    result = read(found)
    assert isinstance(result, FileRecord)
    return result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    path.write_bytes(png())
    return path


def test_a_picture_is_present_as_it_was_read(path: Path) -> None:
    status = path.stat()
    read = record(candidate(path))
    assert (read.root, read.path, read.state) == (path.parent, path, "present")
    assert (read.size_bytes, read.inode) == (status.st_size, status.st_ino)
    assert (read.modified_ns, read.changed_ns) == (status.st_mtime_ns, status.st_ctime_ns)
    assert read.asset is not None
    assert (read.asset["width_px"], read.asset["media_type"]) == (8, "image/png")


@pytest.mark.parametrize(
    ("name", "content", "state", "kind"),
    [
        ("note.txt", b"hello", "ignored", None),
        ("empty.png", b"", "failed", "empty"),
        ("text.png", b"hello", "failed", "not_a_picture"),
        ("cut.png", png()[:40], "failed", "broken"),
    ],
)
def test_what_is_no_picture_is_said(
    tmp_path: Path, name: str, content: bytes, state: str, kind: str | None
) -> None:
    (tmp_path / name).write_bytes(content)
    read = record(candidate(tmp_path / name))
    assert (read.state, read.error_kind, read.asset) == (state, kind, None)
    assert (read.error is None) == (kind is None)
    assert read.changed_ns == (tmp_path / name).stat().st_ctime_ns, "or every scan would read it again"


def test_a_picture_over_the_limit_is_said(tmp_path: Path) -> None:
    PIL.Image.new("L", (40, 40)).save(tmp_path / "large.png")
    assert record(candidate(tmp_path / "large.png")).error_kind == "too_large"


def test_a_file_that_is_gone_is_nothing(path: Path) -> None:
    found = candidate(path)
    path.unlink()
    assert read(found) is None


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert record(candidate(tmp_path / "pipe.png")).error_kind == "not_regular"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.png"))
        assert record(candidate(tmp_path / "socket.png")).error_kind == "not_regular"


@pytest.mark.parametrize("target", ["one.png", "nowhere.png"])
def test_a_link_is_not_followed_unless_told(path: Path, target: str) -> None:
    link = path.with_name("link.png")
    link.symlink_to(path.with_name(target))
    read = record(candidate(link))
    assert (read.state, read.error_kind) == ("ignored", "symlink")
    assert read.changed_ns == link.lstat().st_ctime_ns
    read = record(candidate(link, is_followed=True))
    if target == "one.png":
        assert (read.state, read.changed_ns) == ("present", path.stat().st_ctime_ns)
    else:
        assert (read.state, read.error_kind) == ("ignored", "symlink")


def test_a_folder_that_cannot_be_read_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    read = record(Candidate(tmp_path, tmp_path / "closed", None, "the folder cannot be read"))
    assert (read.state, read.error) == ("failed", "the folder cannot be read")


@pytest.mark.parametrize("content", [png((9, 9, 9)), b"", png()[:40]], ids=["picture", "empty", "half"])
def test_a_file_that_changed_since_it_settled_must_settle_again(path: Path, content: bytes) -> None:
    """It may have waited for its turn for minutes, and somebody writes to it now."""
    found = candidate(path)
    path.write_bytes(content)
    result = read(found)
    assert isinstance(result, Candidate), "what was read is of a file that did not settle"
    assert result.stat == path.lstat()
    assert result.trouble is None


class Failing:
    """A probe that fails, and does something to the file first."""

    def __init__(self, error: Exception, content: bytes | None = None) -> None:
        self._error, self._content = error, content

    def __call__(self, path: Path, **options: object) -> None:
        if self._content is not None:
            path.write_bytes(self._content)
        raise self._error


def test_a_failure_counts_only_if_the_file_is_still_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "probe", Failing(FileError("it looks broken"), png((4, 5, 6))))
    result = read(candidate(path))
    assert isinstance(result, Candidate)
    assert (result.stat, result.trouble) == (path.lstat(), None)

    monkeypatch.setattr(reading, "probe", Failing(FileError("it is broken")))
    assert record(candidate(path)).error == "it is broken"


def test_a_file_replaced_while_it_was_read_is_looked_at_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "probe", Failing(FileVanished("changed while it was read"), png((4, 5, 6))))
    result = read(candidate(path))
    assert isinstance(result, Candidate)
    assert result.stat == path.lstat()


def test_what_may_pass_is_tried_again_and_recorded_at_last(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = FileUnreadable("Input/output error", retryable=True)
    monkeypatch.setattr(reading, "probe", Failing(error))
    found = candidate(path)
    assert read(found, is_last_try=False) == replace(found, trouble="Input/output error")
    last = record(found)
    assert (last.state, last.error_kind, last.error) == ("failed", "unreadable", "Input/output error")
    monkeypatch.setattr(reading, "probe", Failing(FileUnreadable("no right")))
    assert isinstance(read(found, is_last_try=False), FileRecord), "it will not pass"


def test_a_bug_costs_one_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "probe", Failing(ZeroDivisionError("mine")))
    read = record(candidate(path))
    assert (read.state, read.error_kind) == ("failed", "file")
    assert "ZeroDivisionError('mine')" in str(read.error)
    assert "Traceback" in caplog.text


def test_to_look_is_to_forget_what_was_in_the_way(path: Path) -> None:
    found = Candidate(path.parent, path, None, trouble="Input/output error")
    assert look(found) == Candidate(path.parent, path, path.lstat())
    path.unlink()
    assert look(found).stat is None
