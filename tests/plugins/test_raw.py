"""The raw plugin on DNG files made here, and on a real file that is not what its name says."""

import io
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from enrich.plugins import raw

from enrich import errors

DNG = "image/x-adobe-dng"
RED, GREEN = (200, 30, 30), (30, 160, 30)

# Bytes per value of the TIFF types used below.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8}


def _value(kind: int, value: object) -> tuple[int, bytes]:
    if isinstance(value, bytes):
        return len(value), value
    values = value if isinstance(value, tuple) else (value,)
    code = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}[kind]
    packed = struct.pack(f"<{len(values)}{code}", *values)
    return len(packed) // _SIZES[kind], packed


def _directory(entries: dict[int, tuple[int, object]], offset: int) -> bytes:
    """A TIFF directory that stands at ``offset``, followed by the values too long for it."""
    table, extra = struct.pack("<H", len(entries)), b""
    after = offset + 2 + 12 * len(entries) + 4
    for tag, (kind, value) in sorted(entries.items()):
        count, packed = _value(kind, value)
        if len(packed) > 4:
            packed, where = struct.pack("<I", after + len(extra)), packed
            extra += where + bytes(len(where) % 2)
        table += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return table + bytes(4) + extra


def _mosaic(width: int, height: int) -> bytes:
    """An RGGB frame whose upper half is red and whose lower half is green, 16 bit linear."""
    frame = np.zeros((height, width), np.uint16)
    frame[::2, ::2] = 1000
    frame[1::2, 1::2] = 1000
    frame[::2, 1::2] = frame[1::2, ::2] = 1000
    frame[: height // 2 : 2, ::2] = 40000
    frame[height // 2 :: 2, 1::2] = frame[height // 2 + 1 :: 2, ::2] = 40000
    return frame.tobytes()


def write_dng(
    path: Path, *, size: tuple[int, int] = (200, 120), orientation: int = 1, preview: bytes | None = None
) -> Path:
    """Write a DNG with an uncompressed mosaic and perhaps a JPEG preview."""
    width, height = size
    mosaic = _mosaic(width, height)
    camera = {
        271: (2, b"enrich\0"),
        272: (2, b"test\0"),
        274: (3, orientation),
        50706: (1, (1, 4, 0, 0)),
        50708: (2, b"enrich test\0"),
        50721: (10, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)),
        50728: (5, (1, 1, 1, 1, 1, 1)),
        50778: (3, 21),
    }
    sensor: dict[int, tuple[int, object]] = {
        254: (4, 0),
        256: (4, width),
        257: (4, height),
        258: (3, 16),
        259: (3, 1),
        262: (3, 32803),
        277: (3, 1),
        278: (4, height),
        279: (4, len(mosaic)),
        33421: (3, (2, 2)),
        33422: (1, (0, 1, 1, 2)),
        50714: (3, 0),
        50717: (4, 65535),
    }
    first = 8 + len(mosaic)
    if preview is None:
        whole = _directory({**sensor, **camera, 273: (4, 8)}, first)
    else:
        with PIL.Image.open(io.BytesIO(preview)) as image:
            seen = image.size
        second = first + len(preview) + len(preview) % 2
        raw_part = _directory({**sensor, 273: (4, 8)}, second)
        second_end = second + len(raw_part)
        shown = {
            254: (4, 1),
            256: (4, seen[0]),
            257: (4, seen[1]),
            258: (3, (8, 8, 8)),
            259: (3, 7),
            262: (3, 6),
            273: (4, first),
            277: (3, 3),
            278: (4, seen[1]),
            279: (4, len(preview)),
            330: (4, second),
        }
        whole = preview + bytes(len(preview) % 2) + raw_part + _directory({**shown, **camera}, second_end)
        first = second_end
    path.write_bytes(struct.pack("<2sHI", b"II", 42, first) + mosaic + whole)
    return path


def jpeg(size: tuple[int, int], color: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", size, color).save(out, "JPEG", quality=90)
    return out.getvalue()


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture as whoever honours the EXIF orientation sees it."""
    exif = PIL.Image.Exif()
    exif.load(image.info["exif"])
    turns = {1: None, 3: 3, 6: 4, 8: 2}  # PIL.Image.Transpose of ROTATE_180, ROTATE_270, ROTATE_90
    turn = turns[exif[0x0112]]
    return image if turn is None else image.transpose(PIL.Image.Transpose(turn))


def test_other_types_are_left_to_others(tmp_path: Path, eval_data: Path) -> None:
    named_nef = eval_data / "formats" / "raw" / "Issue_247-1.nef"
    assert raw.enrich_open(named_nef, "image/jpeg") is None  # which is what its content is
    assert raw.enrich_open(tmp_path / "absent.dng", "application/pdf") is None


def test_without_rawpy_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    assert raw.enrich_open(write_dng(tmp_path / "a.dng"), DNG) is None


def test_requires_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(errors.ExtraMissing, match=r"pip install 'enrich-dam\[raw\]'"):
        raw.requires()


class TestWithRawpy:
    @pytest.fixture(autouse=True)
    def rawpy(self) -> None:
        pytest.importorskip("rawpy", reason="the extra `raw` is not installed")

    def test_raw_data_is_developed_at_half_size(self, tmp_path: Path) -> None:
        (image,) = raw.enrich_open(write_dng(tmp_path / "a.dng"), DNG) or ()
        assert image.size == (100, 60)
        upper, lower = np.asarray(image)[15, 50].astype(int), np.asarray(image)[45, 50].astype(int)
        assert upper[0] > upper[1] + 50 and lower[1] > lower[0] + 50

    @pytest.mark.parametrize(
        ("orientation", "red_side"), [(1, "top"), (3, "bottom"), (6, "right"), (8, "left")]
    )
    def test_orientation_goes_with_the_picture(self, tmp_path: Path, orientation: int, red_side: str) -> None:
        (image,) = raw.enrich_open(write_dng(tmp_path / "a.dng", orientation=orientation), DNG) or ()
        assert image.size == (100, 60)  # as stored
        seen = np.asarray(upright(image)).astype(int)
        height, width = seen.shape[:2]
        places = {"top": (4, width // 2), "bottom": (-4, width // 2)}
        places |= {"left": (height // 2, 4), "right": (height // 2, -4)}
        red = {side for side, place in places.items() if seen[place][0] > seen[place][1] + 50}
        # The two sides between the halves are cut through the middle: either colour.
        assert red_side in red
        assert {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}[red_side] not in red

    def test_a_large_preview_is_what_the_photographer_saw(self, tmp_path: Path) -> None:
        path = write_dng(tmp_path / "a.dng", preview=jpeg((1600, 1066), GREEN), orientation=6)
        (image,) = raw.enrich_open(path, DNG) or ()
        assert image.size == (1600, 1066)
        assert upright(image).size == (1066, 1600)
        assert np.abs(np.asarray(image)[500, 800].astype(int) - GREEN).max() <= 3

    def test_a_small_preview_is_passed_over(self, tmp_path: Path) -> None:
        path = write_dng(tmp_path / "a.dng", preview=jpeg((160, 106), GREEN))
        (image,) = raw.enrich_open(path, DNG) or ()
        assert image.size == (100, 60)

    def test_a_small_preview_stands_in_for_damaged_raw_data(self, eval_data: Path) -> None:
        named_nef = eval_data / "formats" / "raw" / "Issue_247-1.nef"
        (image,) = raw.enrich_open(named_nef, "image/x-nikon-nef") or ()
        assert max(image.size) == 640

    def test_an_unknown_camera_is_left_to_others(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nef"
        path.write_bytes(b"MM\0*" + bytes(4000))
        assert raw.enrich_open(path, "image/x-nikon-nef") is None

    def test_damage_is_a_broken_picture(self, tmp_path: Path) -> None:
        path = write_dng(tmp_path / "a.dng")
        content = bytearray(path.read_bytes())
        # The directory stays whole and sends the reader past the end of the file.
        where = content.rindex(struct.pack("<HHII", 273, 4, 1, 8)) + 8
        content[where : where + 4] = struct.pack("<I", len(content) - 10)
        path.write_bytes(content)
        with pytest.raises(errors.BrokenPicture, match="RAW data"):
            raw.enrich_open(path, DNG)

    def test_a_vanished_file_is_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(errors.FileUnreadable):
            raw.enrich_open(tmp_path / "gone.dng", DNG)

    def test_threads_and_odd_names(self, tmp_path: Path) -> None:
        name = b"a \xff\n.dng".decode("utf-8", "surrogateescape")
        path = write_dng(tmp_path / name)
        with ThreadPoolExecutor(4) as pool:
            sizes = {
                images[0].size for images in pool.map(lambda _: raw.enrich_open(path, DNG) or (), range(8))
            }
        assert sizes == {(100, 60)}
