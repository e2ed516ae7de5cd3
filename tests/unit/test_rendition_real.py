"""Real files: every one gives facts and pixels or one of our errors, and the facts are true."""

import datetime as dt
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from enrich.errors import BrokenPicture, DecoderMissing, EmptyFile, FileError, NotAPicture, PictureTooLarge
from enrich.rendition import Frame, PictureFacts, open_picture, probe

PIXELS = 128_000_000
# A picture that takes all memory must not take the machine. Measured: about 250 MB.
PEAK_BYTES = 600_000_000

# In formats/, what Pillow 13 does not read.
UNREADABLE = {
    "bigtiff/BigTIFFMotorola.tif": BrokenPicture,
    "bmpsuite/pal2.bmp": BrokenPicture,
    "bmpsuite/pal8oversizepal.bmp": BrokenPicture,
    "bmpsuite/rgb32bf.bmp": BrokenPicture,
    "pillow/00r0_gray_l.jp2": BrokenPicture,
    "pillow/00r1_graya_la.jp2": BrokenPicture,
    "pillow/balloon_eciRGBv2_aware.jp2": BrokenPicture,
    "pillow/drawing.emf": DecoderMissing,
    "pillow/hopper_webp.tif": BrokenPicture,
    "pillow/p_8.tga": BrokenPicture,
    "pillow/unbound_variable.jp2": BrokenPicture,
    "pillow/zero_height.j2k": BrokenPicture,
    "skimage/multipage_rgb.tif": BrokenPicture,
}


def truths(eval_data: Path, kind: str) -> list[dict[str, Any]]:
    lines = (eval_data / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    return [truth for line in lines if (truth := json.loads(line))["kind"] == kind]


def facts(path: Path) -> PictureFacts:
    found = probe(path, max_pixels=PIXELS).picture
    assert found is not None
    return found


def render(path: Path, size_px: int = 64) -> tuple[PictureFacts, Frame] | None:
    """Probe and decode the first page; None for a foreign file. Checks what holds for every file."""
    found = probe(path, max_pixels=PIXELS)
    if found.picture is None:
        return None
    text = json.dumps(found.picture.embedded, allow_nan=False)
    assert "\\u0000" not in text and len(text) < 200_000
    text.encode("utf-8")
    assert found.media_type is not None
    with open_picture(path, found.media_type, max_pixels=PIXELS) as opened:
        assert opened.pages == found.picture.pages
        frame = opened.render(0, size_px)
    assert frame.pixels.shape == (frame.height_px, frame.width_px, 3) and max(frame.pixels.shape) <= size_px
    return found.picture, frame


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_orientation(eval_data: Path) -> None:
    for truth in truths(eval_data, "orientation"):
        path = eval_data / truth["path"]
        rendered = render(path)
        assert rendered is not None
        found, frame = rendered
        assert found.orientation == (truth["expected"] or None), path
        if upright := truth.get("upright"):
            assert upright == ("landscape" if frame.width_px > frame.height_px else "portrait"), path


def test_metadata(eval_data: Path) -> None:
    """Against what other programs read in the same files."""
    checked = 0
    for truth in truths(eval_data, "metadata_expected"):
        found, expected = facts(eval_data / truth["path"]), truth["expected"]
        exif = found.embedded.get("exif", {})
        for name, key in (("Exif IFD0/Make", "Make"), ("Exif IFD0/Model", "Model")):
            if name in expected:
                assert exif[key] == expected[name].strip(), truth["path"]
                assert expected["Exif IFD0/Model"].split()[-1] in (found.camera or "")
        # Here and there a camera wrote a date that is none.
        original = expected.get("Exif SubIFD/Date/Time Original", "")
        if re.fullmatch(r"(?!0000)\d{4}(:\d\d){2} (\d\d:){2}\d\d", original):
            assert found.taken_at == dt.datetime.strptime(original, "%Y:%m:%d %H:%M:%S"), truth["path"]
            checked += 1
        if match := re.fullmatch(r"f/([\d.]+)", expected.get("Exif SubIFD/F-Number", "")):
            assert exif["FNumber"] == pytest.approx(float(match[1]), abs=0.05)
        if "JPEG/Image Width" in expected:
            size = f"{found.width_px} pixels", f"{found.height_px} pixels"
            assert size == (expected["JPEG/Image Width"], expected["JPEG/Image Height"])
    assert checked > 20


def test_position_and_words(eval_data: Path) -> None:
    bus = facts(eval_data / "exif/metadata_extractor/FujiFilm_FinePixS1Pro_5_.jpg")
    assert (bus.latitude, bus.longitude) == pytest.approx((50.7231667, -1.9628333))
    assert bus.embedded["description"] == "Wilts & Dorset Bus" == bus.embedded["keywords"][0]
    assert bus.embedded["copyright"] == "ian Britton - FreeFoto.com"
    assert bus.embedded["iptc"]["Country-PrimaryLocationName"] == "United Kingdom"
    iceland = facts(eval_data / "exif/photoprism/Iceland-P3.jpg")
    assert (iceland.latitude, iceland.longitude) == pytest.approx((65.05558, -16.625702), abs=1e-5)
    assert (iceland.camera, iceland.embedded["creator"]) == ("NIKON D800E", "Nicolas Cornet")
    words = facts(eval_data / "exif/metadata_extractor/Photoshop_3_.jpg").embedded
    assert words["keywords"] == ["test keyword 1", "test keyword 2"]
    assert words["title"] == "Test document title string for metadata-extractor"


def test_every_format_decodes_but_the_known_ones(eval_data: Path) -> None:
    failed: dict[str, type[FileError]] = {}
    folder = eval_data / "formats"
    has_heif = importlib.util.find_spec("pillow_heif") is not None
    for path in files(folder):
        name = str(path.relative_to(folder))
        try:
            assert render(path) is not None, name
        except FileError as error:
            is_heif = isinstance(error, DecoderMissing) and "enrich-dam[heif]" in str(error)
            if has_heif or not is_heif:
                failed[name] = type(error)
    assert failed == {name: kind for name, kind in UNREADABLE.items() if (folder / name).exists()}


@pytest.mark.parametrize("folder", ["exif", "photos", "text", "big"])
def test_every_ordinary_picture_decodes(eval_data: Path, folder: str) -> None:
    for path in files(eval_data / folder):
        try:
            rendered = render(path)
        except DecoderMissing:
            assert path.suffix == ".heic"
            continue
        assert (rendered is None) == (path.suffix == ".xmp"), path
        if rendered is not None:
            found, frame = rendered
            sides = found.width_px, found.height_px
            turned = (found.orientation or 1) >= 5
            assert (frame.original_width_px, frame.original_height_px) == sides[:: -1 if turned else 1], path


def test_broken_files_give_one_of_our_errors_or_pixels(eval_data: Path) -> None:
    outcomes: dict[str, str] = {}
    for path in files(eval_data / "broken"):
        try:
            render(path)
        except FileError as error:
            assert str(error).isprintable(), path
            outcomes[path.name] = error.kind
    assert outcomes["zero_byte.jpg"] == EmptyFile.kind
    assert outcomes["text_named.jpg"] == NotAPicture.kind
    assert outcomes["truncated_half.jpg"] == outcomes["truncated_half.png"] == BrokenPicture.kind
    assert outcomes["claims_60000x60000.png"] == outcomes["reallybig.bmp"] == PictureTooLarge.kind
    assert "png_decompression_dos.png" not in outcomes
    for truth in truths(eval_data, "real_format"):
        media_type = probe(eval_data / truth["path"], max_pixels=PIXELS).media_type
        assert media_type == f"image/{truth['expected'].split()[0].lower()}"


def test_a_trailer_is_not_the_picture(eval_data: Path) -> None:
    folder = eval_data / "broken" / "derived"
    plain, trailed = folder / "jpeg_named.webp", folder / "jpeg_with_trailing_zip.jpg"
    assert facts(plain).image_hash == facts(trailed).image_hash
    assert probe(plain, max_pixels=PIXELS).sha256 != probe(trailed, max_pixels=PIXELS).sha256


def test_broken_files_stay_within_memory(eval_data: Path) -> None:
    """The first pages of all broken files, two at a time, in a process of its own whose peak is measured."""
    script = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from enrich.errors import FileError
from enrich.rendition import DecodeBudget, open_picture, probe

budget = DecodeBudget(500_000_000)

def work(path):
    try:
        found = probe(path, max_pixels=128_000_000)
        if found.picture is not None:
            with open_picture(path, found.media_type, max_pixels=128_000_000, budget=budget) as opened:
                for page in range(min(opened.pages, 5)):
                    opened.render(page, 1024)
    except FileError:
        pass

with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]))
# Not getrusage: there a process starts with the peak of the one that forked it.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, eval_data / "broken"],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert int(done.stdout) < PEAK_BYTES
