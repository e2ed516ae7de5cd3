"""Pixels: upright, in sRGB, on white, of the size asked for, within limits."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from PIL import ImageCms

from enrich.errors import BrokenPicture, DecoderMissing, FileVanished, PictureTooLarge
from enrich.rendition import DecodeBudget, Frame, open_picture, probe

PIXELS = 10_000_000
WHITE = [255, 255, 255]
Render = Callable[..., Frame]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Save a picture (or take its bytes) and render it the way the worker does: probe, then decode."""

    def run(
        picture: PIL.Image.Image | bytes,
        kind: str = "PNG",
        *,
        size_px: int | None = None,
        page: int = 0,
        max_pixels: int = PIXELS,
        budget: DecodeBudget | None = None,
        **options: Any,
    ) -> Frame:
        path = tmp_path / "picture.tga"
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path, kind, **options)
        found = probe(path, max_pixels=max_pixels)
        assert found.media_type is not None
        with open_picture(path, found.media_type, max_pixels=max_pixels, budget=budget) as opened:
            return opened.render(page, size_px)

    return run


def pixel(frame: Frame, x: float = 0.5, y: float = 0.5) -> list[int]:
    return [int(v) for v in frame.pixels[int(y * frame.height_px), int(x * frame.width_px)]]


def assert_near(found: Sequence[int], expected: Sequence[int], tolerance: int = 3) -> None:
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= tolerance, (
        f"{found} is not {expected}"
    )


def corners() -> PIL.Image.Image:
    """40 x 24: red, green over blue, black."""
    picture = PIL.Image.new("RGB", (40, 24), "black")
    picture.paste((255, 0, 0), (0, 0, 20, 12))
    picture.paste((0, 255, 0), (20, 0, 40, 12))
    picture.paste((0, 0, 255), (0, 12, 20, 24))
    return picture


# How an upright picture is stored so that the orientation turns it upright again.
STORED = {
    1: None,
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_90,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}),
    ],
)
def test_the_picture_stands_upright(
    render: Render, kind: str, options: dict[str, Any], orientation: int
) -> None:
    transpose = STORED[orientation]
    stored = corners() if transpose is None else corners().transpose(transpose)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    # As bytes: Pillow's AVIF writer takes the orientation out of the object.
    block = exif.tobytes()
    frame = render(stored, kind, exif=block, **options)
    assert frame.pixels.shape == (24, 40, 3)
    assert (frame.original_width_px, frame.original_height_px) == (40, 24)
    for (x, y), colour in {(0.2, 0.2): (255, 0, 0), (0.8, 0.2): (0, 255, 0), (0.2, 0.8): (0, 0, 255)}.items():
        assert_near(pixel(frame, x, y), colour, 12)
    small = render(stored, kind, exif=block, size_px=20, **options)
    assert (small.width_px, small.height_px, small.original_width_px) == (20, 12, 40)


def test_pixels_are_read_only_and_contiguous(render: Render) -> None:
    for picture in (corners(), corners().convert("L"), corners().convert("P")):
        pixels = render(picture).pixels
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and not pixels.flags.writeable


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "P"])
def test_transparent_is_white(render: Render, mode: str) -> None:
    picture = PIL.Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 10, 20))
    picture.paste((255, 0, 0, 128), (0, 10, 10, 20))
    if mode == "PA":
        frame = render(picture, "WEBP", lossless=True)
    else:
        frame = render(picture.convert(mode) if mode != "P" else picture.quantize(8))
    grey = mode == "LA"
    assert pixel(frame, 0.9) == WHITE
    assert_near(pixel(frame, 0.1, 0.1), [76] * 3 if grey else [255, 0, 0])
    assert_near(pixel(frame, 0.1, 0.9), [166] * 3 if grey else [255, 127, 127])


@pytest.mark.parametrize(
    ("mode", "colour", "see_through"), [("L", 7, 9), ("RGB", (1, 2, 3), (1, 2, 4)), ("1", 0, 255)]
)
def test_a_colour_declared_transparent_is_white(
    render: Render, mode: str, colour: Any, see_through: Any
) -> None:
    picture = PIL.Image.new(mode, (20, 20), colour)
    picture.paste(see_through, (10, 0, 20, 20))
    frame = render(picture, transparency=see_through)
    assert pixel(frame, 0.9) == WHITE
    assert pixel(frame, 0.1) == (list(colour) if isinstance(colour, tuple) else [colour] * 3)


def test_transparency_is_averaged_without_fringes(render: Render) -> None:
    """Transparent black between opaque white stays white when it is made smaller."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[::2] = 255
    assert render(PIL.Image.fromarray(pixels), size_px=8).pixels.min() == 255


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (32768, 128), (65535, 255), (257 * 7, 7)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits(render: Render, kind: str, value: int, expected: int) -> None:
    picture = PIL.Image.fromarray(np.full((8, 8), value, np.uint16))
    assert pixel(render(picture, kind)) == [expected] * 3


def test_sixteen_bits_with_a_transparent_value(render: Render) -> None:
    numbers = np.full((8, 8), 1000, np.uint16)
    numbers[:, 4:] = 2000
    content = io.BytesIO()
    PIL.Image.fromarray(numbers).save(content, "PNG")
    chunk = b"tRNS" + struct.pack(">H", 2000)
    trns = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    frame = render(content.getvalue()[:33] + trns + content.getvalue()[33:])
    assert (pixel(frame, 0.1), pixel(frame, 0.9)) == ([4] * 3, WHITE)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), [0, 255]),
        (np.linspace(0, 0.5, 64, dtype=np.float32), [0, 128]),
        (np.linspace(0, 200, 64, dtype=np.float32), [0, 200]),
        (np.linspace(0, 65535, 64, dtype=np.float32), [0, 255]),
        (np.linspace(-3, 5, 64, dtype=np.float32), [0, 255]),
        (np.linspace(1e6, 2e6, 64, dtype=np.float32), [0, 255]),
        (np.full(64, -7, np.float32), [0, 0]),
        (np.full(64, np.nan, np.float32), [0, 0]),
        (np.array([0, *[np.inf] * 32, *[np.nan] * 30, 1], np.float32), [0, 255]),
        (np.linspace(0, 100, 64, dtype=np.int32), [0, 100]),
        (np.linspace(0, 65535, 64, dtype=np.int32), [0, 255]),
        (np.linspace(-32768, 32767, 64, dtype=np.int32), [0, 255]),
    ],
)
def test_numbers_beyond_eight_bits(render: Render, numbers: NDArray[Any], expected: list[int]) -> None:
    frame = render(PIL.Image.fromarray(numbers.reshape(1, -1)), "TIFF")
    assert [int(frame.pixels[0, 0, 0]), int(frame.pixels[0, -1, 0])] == expected


def test_cmyk(render: Render) -> None:
    picture = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    # Pillow writes CMYK JPEGs inverted with Adobe's marker, as Photoshop does.
    assert_near(pixel(render(picture, "JPEG", quality=95)), [255, 0, 0])
    assert_near(pixel(render(picture, "TIFF")), [255, 0, 0])
    assert pixel(render(PIL.Image.new("CMYK", (16, 16)), "TIFF")) == WHITE


def test_lab_and_one_bit(render: Render) -> None:
    lab = PIL.Image.new("LAB", (8, 8), (255, 128, 128))
    assert_near(pixel(render(lab, "TIFF")), WHITE)
    bits = PIL.Image.new("1", (8, 8))
    bits.paste(1, (4, 0, 8, 8))
    frame = render(bits, "TIFF", compression="group4")
    assert (pixel(frame, 0.1), pixel(frame, 0.9)) == ([0, 0, 0], WHITE)


def swapped_profile() -> bytes:
    """sRGB with the red and the green primary exchanged: its red is our green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = {bytes(profile[i : i + 4]): i for i in range(132, 132 + 12 * count, 12)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_the_profile_is_applied(render: Render, kind: str, options: dict[str, Any]) -> None:
    red = PIL.Image.new("RGB", (16, 16), (255, 0, 0))
    assert_near(pixel(render(red, kind, icc_profile=swapped_profile(), **options)), [0, 255, 0], 5)


def test_a_profile_for_rgb_is_applied_to_palettes_and_grey(render: Render) -> None:
    red = PIL.Image.new("RGB", (16, 16), (255, 0, 0)).quantize(4)
    assert_near(pixel(render(red, icc_profile=swapped_profile())), [0, 255, 0], 5)
    grey = PIL.Image.new("L", (16, 16), 100)
    assert_near(pixel(render(grey, icc_profile=swapped_profile())), [100] * 3, 5)


@pytest.mark.parametrize("profile", [b"nonsense", bytes(4000), swapped_profile()[:200]])
def test_a_broken_profile_is_ignored(render: Render, profile: bytes) -> None:
    assert pixel(render(PIL.Image.new("RGB", (16, 16), (200, 10, 20)), icc_profile=profile)) == [200, 10, 20]


def test_a_profile_of_another_colour_space_is_ignored(render: Render) -> None:
    picture = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert_near(pixel(render(picture, "TIFF", icc_profile=swapped_profile())), [255, 0, 0])


@pytest.mark.parametrize(
    ("size", "size_px", "expected"),
    [
        ((400, 300), 100, (100, 75)),
        ((300, 400), 100, (75, 100)),
        ((400, 300), 400, (400, 300)),
        ((40, 30), 100, (40, 30)),
        ((4000, 3), 100, (100, 1)),
        ((1, 5000), 7, (1, 7)),
        ((1, 1), 1, (1, 1)),
        ((1001, 999), 333, (333, 332)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "JPEG2000"])
def test_the_longest_edge(
    render: Render, kind: str, size: tuple[int, int], size_px: int, expected: tuple[int, int]
) -> None:
    frame = render(PIL.Image.new("RGB", size, (9, 99, 199)), kind, size_px=size_px)
    assert (frame.width_px, frame.height_px) == expected == frame.pixels.shape[1::-1]
    assert (frame.original_width_px, frame.original_height_px) == size
    assert_near(pixel(frame), [9, 99, 199], 6)


def waves(width: int, height: int, mode: str) -> PIL.Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 120 * np.sin(x / (40 + 9 * n) + y / 70) for n in range(3)]
    picture = PIL.Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
    return picture.convert(mode)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("TIFF", mode) for mode in ("RGB", "L", "P", "RGBA", "CMYK")),
        *(("JPEG2000", mode) for mode in ("RGB", "L", "RGBA")),
    ],
)
def test_reduced_and_banded_decoding_show_the_same(render: Render, kind: str, mode: str) -> None:
    # Over a million pixels: several bands, the last one short.
    picture = waves(1603, 1201, mode)
    frame = render(picture, kind, size_px=160)
    expected = picture.convert("RGB").resize((160, 120), PIL.Image.Resampling.BOX)
    assert frame.pixels.shape == (120, 160, 3)
    difference = np.abs(frame.pixels.astype(int) - np.asarray(expected).astype(int))
    assert difference.mean() < 2.5 and np.percentile(difference, 99) < 16


def test_full_size_of_several_bands_is_exact(render: Render) -> None:
    picture = waves(1603, 1201, "P")
    assert np.array_equal(render(picture).pixels, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_pages_in_any_order(tmp_path: Path, kind: str) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    pages = [PIL.Image.new("RGB", (20, 10), colour) for colour in colours]
    path = tmp_path / "a"
    pages[0].save(path, kind, save_all=True, append_images=pages[1:], lossless=True)
    media_type = probe(path, max_pixels=PIXELS).media_type
    assert media_type is not None
    with open_picture(path, media_type, max_pixels=PIXELS) as opened:
        assert opened.pages == 4
        for page in (0, 2, 3, 1, 1, 0):
            assert_near(pixel(opened.render(page, None)), colours[page], 8)
        with pytest.raises(ValueError, match="page 4 of a picture with 4"):
            opened.render(4, None)


def test_the_limit_holds_for_every_page(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    PIL.Image.new("L", (10, 10)).save(path, save_all=True, append_images=[PIL.Image.new("L", (50, 50))])
    with open_picture(path, "image/tiff", max_pixels=100) as opened:
        assert opened.render(0, None).width_px == 10
        with pytest.raises(PictureTooLarge, match="50 x 50"):
            opened.render(1, None)


def test_a_limit_above_pillows_own_is_possible(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses at twice its number; it is raised for who asks for more, and never lowered."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    picture = PIL.Image.new("1", (50, 50))
    with pytest.raises(PictureTooLarge):
        render(picture, max_pixels=2000)
    assert render(picture, max_pixels=4001).original_width_px == 50
    assert PIL.Image.MAX_IMAGE_PIXELS == 2001
    render(picture, max_pixels=2500)
    assert PIL.Image.MAX_IMAGE_PIXELS == 2001


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "AVIF"])
def test_half_a_picture_is_broken(render: Render, kind: str) -> None:
    content = io.BytesIO()
    waves(300, 200, "RGB").save(content, kind)
    with pytest.raises(BrokenPicture):
        render(content.getvalue()[: len(content.getvalue()) // 2])


def test_a_bomb_of_text_does_not_cost_the_picture(render: Render) -> None:
    def chunk(name: bytes, payload: bytes) -> bytes:
        return (
            struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))
        )

    content = io.BytesIO()
    corners().save(content, "PNG")
    head, tail = content.getvalue()[:33], content.getvalue()[33:]
    bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(9_000_000)))
    assert pixel(render(head + bomb + tail), 0.2, 0.2) == [255, 0, 0]
    # Also where it stands behind the image data.
    assert pixel(render(head + tail[:-12] + bomb + tail[-12:]), 0.2, 0.2) == [255, 0, 0]


def test_memory_is_refused_and_held(render: Render) -> None:
    picture = PIL.Image.new("RGB", (2000, 1000))
    for kind in ("PNG", "WEBP"):
        with pytest.raises(PictureTooLarge, match="memory"):
            render(picture, kind, budget=DecodeBudget(8_000_000))
        render(picture, kind, budget=DecodeBudget(100_000_000), size_px=100)
    # A reduced decode needs less.
    render(picture, "JPEG", budget=DecodeBudget(27_000_000), size_px=100)


def test_an_openers_pictures_go_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "a.nef"
    path.write_bytes(b"II*\x00")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    corners().transpose(PIL.Image.Transpose.ROTATE_90).save(stored, "PNG", exif=exif)
    pages = [PIL.Image.open(stored), PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))]

    def opener(path: Path, media_type: str) -> Sequence[PIL.Image.Image]:
        assert media_type == "image/x-nikon-nef"
        return pages

    with open_picture(path, "image/x-nikon-nef", max_pixels=PIXELS, opener=opener) as opened:
        frame = opened.render(0, 20)
        assert (opened.pages, frame.width_px, frame.original_width_px) == (2, 20, 40)
        assert_near(pixel(frame, 0.2, 0.2), [255, 0, 0])
        assert pixel(opened.render(1, None)) == WHITE
    with pytest.raises(DecoderMissing), open_picture(path, "image/x-nikon-nef", max_pixels=PIXELS):
        pass


def test_a_foreign_type_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DecoderMissing), open_picture(tmp_path / "a.txt", "text/plain", max_pixels=PIXELS):
        pass


def test_a_failure_after_a_change_is_the_change(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    waves(300, 200, "RGB").save(path)
    path.write_bytes(path.read_bytes()[:9000] + bytes(9000) + path.read_bytes()[18000:])
    with open_picture(path, "image/png", max_pixels=PIXELS) as opened:
        with pytest.raises(BrokenPicture):
            opened.render(0, None)
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(FileVanished):
            opened.render(0, None)


def test_pillows_warnings_reach_nobody_in_any_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors in this suite, so one that leaks fails a render."""
    # Between once and twice its limit Pillow warns.
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 900)
    damaged = b"\x12\x01\x02\x00\xff\xff\x00\x00\xff\xff\x00\x00"
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00" + 2 * damaged
    paths = [tmp_path / f"{n}.{kind}" for n in range(12) for kind in ("jpg", "png", "webp")]
    for path in paths:
        corners().save(path, exif=exif)

    def work(path: Path) -> int:
        media_type = probe(path, max_pixels=1000).media_type
        assert media_type is not None
        with open_picture(path, media_type, max_pixels=1000) as opened:
            return opened.render(0, 20).width_px

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, paths)) == {20}
