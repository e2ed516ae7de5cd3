"""Files are opened once and safely, whatever stands at the path."""

import os
import socket
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL.Image
import pytest

from enrich.errors import EmptyFile, FileError, FileUnreadable, FileVanished, NotAPicture, NotRegularFile
from enrich.rendition import Opener, Probe, open_picture, probe

PIXELS = 10_000_000
NOBODY = 65534


def look(path: Path, opener: Opener | None = None) -> Probe:
    return probe(path, max_pixels=PIXELS, opener=opener)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (30, 20), "red").save(path)
    return path


@pytest.mark.timeout(10)
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(NotRegularFile, match="a pipe stands where a file was expected"):
        look(tmp_path / "a.jpg")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A socket's address is short; the test's folder may not be.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.jpg")
        with pytest.raises(NotRegularFile, match="a socket"):
            look(Path("a.jpg"))


def test_devices_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotRegularFile, match="a character device"):
        look(Path("/dev/zero"))
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(NotRegularFile, match="a folder"):
        look(tmp_path / "a.jpg")


def test_a_link_to_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("/dev/zero")
    with pytest.raises(NotRegularFile):
        look(tmp_path / "a.jpg")


def test_a_loop_of_links_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    with pytest.raises(FileUnreadable, match="loop of symbolic links"):
        look(tmp_path / "a.jpg")


def test_a_link_to_a_picture_is_that_picture(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "link.png").symlink_to(picture)
    assert look(tmp_path / "link.png") == look(picture)


def test_a_missing_file_has_vanished(tmp_path: Path) -> None:
    with pytest.raises(FileVanished) as caught:
        look(tmp_path / "a.jpg")
    assert caught.value.retryable
    with pytest.raises(FileVanished), open_picture(tmp_path / "a.jpg", "image/jpeg", max_pixels=PIXELS):
        pass


def test_no_permission_is_unreadable(picture: Path) -> None:
    picture.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        # root may read everything, so be somebody else for a moment.
        os.seteuid(NOBODY)
    try:
        with pytest.raises(FileUnreadable, match="give this user the right to read it"):
            look(picture)
    finally:
        if is_root:
            os.seteuid(0)


def test_a_path_that_no_file_system_can_hold_is_unreadable() -> None:
    with pytest.raises(FileUnreadable):
        look(Path("a\0.jpg"))
    with pytest.raises(FileUnreadable):
        look(Path("x" * 5000 + ".jpg"))


@pytest.mark.parametrize("name", [b"new\nline.png", b"b\xffd\xe9.png", "日本 \u202e.png".encode(), b"-.png"])
def test_any_name_works(tmp_path: Path, picture: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    picture.rename(path)
    found = look(path)
    assert found.picture is not None and found.media_type == "image/png"
    with open_picture(path, "image/png", max_pixels=PIXELS) as opened:
        assert opened.render(0, None).width_px == 30


def test_the_facts_of_the_file(picture: Path) -> None:
    found, status = look(picture), picture.stat()
    assert (found.size_bytes, found.inode) == (status.st_size, status.st_ino)
    assert (found.modified_ns, found.changed_ns) == (status.st_mtime_ns, status.st_ctime_ns)
    assert stat.S_ISREG(status.st_mode)


def test_empty_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").touch()
    with pytest.raises(EmptyFile):
        look(tmp_path / "a.jpg")
    assert look(tmp_path / "a.txt").picture is None


def test_foreign_types_are_not_hashed(tmp_path: Path) -> None:
    (tmp_path / "a.mov").write_bytes(b"\x00\x00\x00\x14ftypqt  \0\0\0\0qt  ")
    found = look(tmp_path / "a.mov")
    assert (found.media_type, found.picture, found.sha256, found.sha1) == (
        "video/quicktime",
        None,
        None,
        None,
    )


def test_a_huge_foreign_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with path.open("wb") as file:
        file.write(b"\x1a\x45\xdf\xa3")
        file.truncate(20 * 2**30)
    assert look(path).size_bytes == 20 * 2**30


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html><body>404</body></html>", "text/html"),
        (b"\x00\x01\x02", "no known format"),
        (b"hello", "text/plain"),
    ],
)
def test_a_name_that_promises_too_much(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(NotAPicture, match=f"named .jpg but its content is {said}"):
        look(tmp_path / "a.jpg")


def test_a_wrong_extension_does_not_matter(tmp_path: Path, picture: Path) -> None:
    picture.rename(tmp_path / "a.heic")
    assert look(tmp_path / "a.heic").media_type == "image/png"


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("meddle", [cut, append, Path.unlink])
@pytest.mark.parametrize("fails", [False, True])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, meddle: Callable[[Path], None], fails: bool
) -> None:
    """The opener runs in the middle of the reading, so it plays the program that is still writing."""
    path = tmp_path / "a.nef"
    path.write_bytes(b"II*\x00" + bytes(1000))

    def opener(path: Path, media_type: str) -> Sequence[PIL.Image.Image] | None:
        meddle(path)
        if fails:
            raise ValueError("half a file")
        return [PIL.Image.new("RGB", (3, 2))]

    with pytest.raises(FileVanished):
        look(path, opener=opener)


def test_a_file_that_hangs_keeps_nobody_from_another(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = threading.Barrier(2)
    real = os.pread

    def read(*arguments: int) -> bytes:
        met.wait(30)  # for the other one, amid its reading too
        return real(*arguments)

    monkeypatch.setattr(os, "pread", read)
    other = tmp_path / "other.png"
    other.write_bytes(picture.read_bytes())
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda path: probe(path, max_pixels=10**6), (picture, other))
    assert one.sha256 == two.sha256


def test_every_error_is_one_line(tmp_path: Path) -> None:
    def opener(path: Path, media_type: str) -> Sequence[PIL.Image.Image] | None:
        raise RuntimeError("two\nlines\x1b[31m" + "x" * 5000)

    (tmp_path / "a.nef").write_bytes(b"II*\x00" + bytes(1000))
    with pytest.raises(FileError) as caught:
        look(tmp_path / "a.nef", opener=opener)
    assert "two lines?[31m" in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
