"""Pictures in: whatever a client says of them, only the bytes count, and little of them stays."""

import base64
import datetime as dt
import io
import os
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import PIL.Image
import pytest
from served import ALICE, BOB, place, png

from enrich.api.errors import ImageNotFetched, InvalidImage, InvalidParameter, NotFound, TooLarge
from enrich.api.pictures import RENDITION_PX
from enrich.api.requests import Caller
from enrich.errors import ConfigError, FetchRefused, FetchTooLarge


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def spooled(folder: Path) -> list[Path]:
    return [path for path in (folder / "uploads").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text,
        lambda text: f"data:image/png;base64,{text}",
        lambda text: f"DATA:text/plain;charset=utf-8;BASE64,{text}",
        lambda text: f"data:;base64,{text.replace('+', '%2B').replace('=', '%3D')}",
        lambda text: text.rstrip("="),
        lambda text: "\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
        lambda text: text.replace("+", "-").replace("/", "_"),
    ],
)
def test_base64_is_taken_however_it_is_written(tmp_path: Path, written: Any) -> None:
    content = png((3, 141, 59), (37, 29))
    with place(tmp_path) as here, here.pictures.receive(ALICE) as received:
        picture = received.named(written(encoded(content)))
    assert (picture.media_type, picture.size_bytes) == ("image/png", len(content))
    assert (picture.rendition.width_px, picture.rendition.height_px) == (37, 29)
    assert picture.rendition.pixels[0, 0].tolist() == [3, 141, 59]


def test_what_a_request_brought_is_gone_when_it_ends(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        with here.pictures.receive(ALICE) as received:
            received.named(encoded(png()))
            (path,) = spooled(tmp_path)
            assert path.stat().st_mode & 0o077 == 0
        assert spooled(tmp_path) == []
        with pytest.raises(InvalidImage), here.pictures.receive(ALICE) as received:
            received.named(encoded(b"GIF89a and no more"))
        assert spooled(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InvalidParameter),
        ("   ", InvalidParameter),
        ("ftp://example.org/a.png", InvalidParameter),
        ("file:///etc/passwd", InvalidParameter),
        ("/etc/passwd", InvalidImage),
        ("data:image/png;base64", InvalidImage),
        ("data:image/png;base64,@@@@", InvalidImage),
        ("data:image/png,not%20a%20picture", InvalidImage),
        ("a picture of a cat", InvalidImage),
        ("ü" * 40, InvalidImage),
        ("0b153972-43da-4d3a-ade5-2803409ae6ab", NotFound),
        (encoded(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), InvalidImage),
        (encoded(b"<html><body>not found</body></html>"), InvalidImage),
        (encoded(b"%!PS-Adobe-3.0"), InvalidImage),
        (encoded(png()[:60]), InvalidImage),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    with place(tmp_path) as here, here.pictures.receive(ALICE) as received:
        with pytest.raises(error) as caught:
            received.named(text)
        assert str(tmp_path) not in str(caught.value)


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    with place(tmp_path) as here, here.pictures.receive(ALICE) as received:
        assert received.stream(io.BytesIO(png()), "report.pdf").media_type == "image/png"
        with pytest.raises(InvalidImage):
            received.stream(io.BytesIO(b"%PDF-1.7 and so on"), "cat.png")


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("../../etc/cat.png", "cat.png"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("cat\x00\r\n\u202egnp.png", "cat gnp.png"),
        ("x" * 999 + ".png", "x" * 200),
    ],
)
def test_a_file_name_is_for_people_only(tmp_path: Path, name: str, cleaned: str) -> None:
    with place(tmp_path) as here, here.pictures.receive(ALICE) as received:
        picture = received.stream(io.BytesIO(png()), name)
        assert picture.file_name == cleaned
        assert picture.path.parent == tmp_path / "uploads" / "spool"


def test_a_dialect_may_take_fewer_formats_and_bytes(tmp_path: Path) -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (9, 9)).save(file, "GIF")
    with place(tmp_path) as here:
        with here.pictures.receive(ALICE) as received:
            assert received.chunks([file.getvalue()], "").media_type == "image/gif"
        only = frozenset({"image/png"})
        with here.pictures.receive(ALICE, media_types=only) as received, pytest.raises(InvalidImage):
            received.chunks([file.getvalue()], "")
        with here.pictures.receive(ALICE, max_bytes=50) as received, pytest.raises(TooLarge):
            received.named(encoded(png()))


def test_a_stream_is_stopped_at_the_limit_and_not_at_its_end(tmp_path: Path) -> None:
    taken = 0

    class Endless:
        def read(self, size: int) -> bytes:
            nonlocal taken
            taken += size
            return b"\x89PNG\r\n\x1a\n" + bytes(size - 8)

    endless: Any = Endless()
    with (
        place(tmp_path, max_upload_bytes=1_000_000) as here,
        here.pictures.receive(ALICE) as received,
        pytest.raises(TooLarge),
    ):
        received.stream(endless, "")
    assert taken < 2_000_000


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is huge, as its pixels would be."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([1, 0, 0, 0, 0])
    row = bytes(1 + width // 8)
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = bomb(8000, 8001)
    assert len(content) < 100_000
    with (
        place(tmp_path) as here,
        here.pictures.receive(ALICE) as received,
        pytest.raises(TooLarge, match="pixel"),
    ):
        received.chunks([content], "")


def test_a_picture_is_decoded_again_only_where_more_of_it_is_wanted(tmp_path: Path) -> None:
    with place(tmp_path) as here, here.pictures.receive(ALICE) as received:
        large = received.chunks([png(size=(1600, 800))], "")
        small = received.chunks([png(size=(64, 32))], "")
        assert large.rendition.width_px == RENDITION_PX
        path, large_path = large.path, large.path.with_name("away")
        path.rename(large_path)
        assert here.pictures.at(large, 512).pixels.shape == (256, 512, 3)
        assert not here.pictures.at(large, 512).pixels.flags.writeable
        large_path.rename(path)
        assert here.pictures.at(large, RENDITION_PX) is large.rendition
        assert here.pictures.at(large, 2048).width_px == 1600
        assert here.pictures.at(small, 2048) is small.rendition


# Uploads


def test_an_upload_is_found_by_its_key_and_by_nobody_else(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        with here.pictures.receive(ALICE) as received:
            stored = received.store(received.stream(io.BytesIO(png()), "cat.png"))
        with here.pictures.receive(ALICE) as received:
            again = received.named(stored.uuid.upper())
            assert again.file_name == "cat.png"
            assert again.path != stored.path
        for other in (BOB, Caller()):
            with here.pictures.receive(other) as received, pytest.raises(NotFound):
                received.named(stored.uuid)


def test_a_key_may_store_so_much_and_no_more(tmp_path: Path) -> None:
    content = png()
    with place(tmp_path, upload_quota_bytes=2 * len(content)) as here:
        with here.pictures.receive(ALICE) as received:
            picture = received.chunks([content], "")
            received.store(picture)
            received.store(picture)
            with pytest.raises(TooLarge):
                received.store(picture)
        assert len(spooled(tmp_path)) == 2
        with here.pictures.receive(BOB) as received:
            received.store(received.chunks([content], ""))


def test_an_upload_goes_when_its_time_is_over(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    with place(tmp_path, retention_seconds=600) as here:
        with here.pictures.receive(ALICE) as received:
            stored = received.store(received.chunks([png()], ""))
        assert here.pictures.sweep(now + dt.timedelta(seconds=300)) == 0
        assert here.pictures.sweep(now + dt.timedelta(seconds=900)) == 1
        assert spooled(tmp_path) == []
        with here.pictures.receive(ALICE) as received, pytest.raises(NotFound):
            received.named(stored.uuid)


def test_what_a_killed_server_left_in_the_spool_is_removed(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        with here.pictures.receive(ALICE):
            stray, fresh = (tmp_path / "uploads" / "spool" / name for name in ("stray", "fresh"))
            stray.write_bytes(b"x")
            fresh.write_bytes(b"x")
            long_ago = time.time() - 90_000
            os.utime(stray, (long_ago, long_ago))
        assert here.pictures.sweep(dt.datetime.now(dt.UTC)) == 1
        assert [path.name for path in spooled(tmp_path)] == ["fresh"]


def test_uploads_do_not_lie_where_they_would_be_watched(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("roots: [{path: .}]\n")
    with pytest.raises(ConfigError, match=r"api\.uploads_dir"), place(tmp_path):
        pass


# URLs


def test_a_url_is_fetched_and_named_by_its_file(tmp_path: Path) -> None:
    asked = []

    def fetch(url: str, into: BinaryIO, *, max_bytes: int | None) -> Any:
        asked.append((url, max_bytes))
        into.write(png())
        return SimpleNamespace(file_name="cat.png")

    with place(tmp_path, fetch) as here, here.pictures.receive(ALICE, max_bytes=5000) as received:
        picture = received.named("HTTPS://example.org/a/cat.png?size=2")
    assert (picture.file_name, picture.media_type) == ("cat.png", "image/png")
    assert asked == [("HTTPS://example.org/a/cat.png?size=2", 5000)]


@pytest.mark.parametrize(
    ("raised", "error"),
    [(FetchRefused("a private address"), ImageNotFetched), (FetchTooLarge("more than 9 bytes"), TooLarge)],
)
def test_a_url_that_gives_nothing_says_so(tmp_path: Path, raised: Exception, error: type[Exception]) -> None:
    def fetch(url: str, into: BinaryIO, *, max_bytes: int | None) -> Any:
        into.write(b"half of it")
        raise raised

    with place(tmp_path, fetch) as here:
        with here.pictures.receive(ALICE) as received, pytest.raises(error):
            received.url("https://example.org/cat.png")
        assert spooled(tmp_path) == []
