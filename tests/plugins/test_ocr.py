"""The ocr plugin: real text in real pictures, and drawn text where the truth has to be exact."""

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pydantic
import pytest
from enrich.plugins import ocr

from enrich import errors
from enrich.rendition import open_picture, probe
from enrich.types import Context, Rendition, TextLine

pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")


def rendition(pixels: np.ndarray, page: int = 0) -> Rendition:
    pixels.flags.writeable = False
    height, width = pixels.shape[:2]
    return Rendition(None, None, page, pixels, width, height, width, height)


def read(*pictures: np.ndarray, **options: object) -> list[list[TextLine]]:
    log = logging.getLogger("test")
    context = Context("ocr", ocr.Options(**options), None, [()] * len(pictures), None, None, None, log)
    return ocr.enrich_text([rendition(pixels) for pixels in pictures], context)


def texts(lines: Sequence[TextLine]) -> list[str]:
    return [line.text for line in lines]


def drawn(
    *lines: str, size: tuple[int, int] = (400, 120), letters_px: int = 28, pitch_px: int = 44
) -> np.ndarray:
    """Black lines of text on white."""
    image = PIL.Image.new("RGB", size, "white")
    pen, font = PIL.ImageDraw.Draw(image), PIL.ImageFont.load_default(letters_px)
    for number, line in enumerate(lines):
        pen.text((20, 20 + number * pitch_px), line, "black", font=font)
    return np.array(image)


def pages(path: Path) -> Iterator[np.ndarray]:
    facts = probe(path, max_pixels=128_000_000)
    with open_picture(path, facts.media_type, max_pixels=128_000_000) as picture:
        for page in range(picture.pages):
            yield picture.render(page, ocr.size_px).pixels


REAL = [
    "test.gif",
    "test.webp",
    "test-european.jpg",
    "paperless_simple-alpha.png",
    "paperless_simple-no-dpi.png",
    "paperless_simple.png",
    "paperless_simple.jpg",
    "paperless_multi-page-images-alpha.tiff",
    "easyocr_chinese.jpg",
]


@pytest.mark.parametrize("name", REAL)
def test_real_pictures_of_text(eval_data: Path, name: str) -> None:
    truths = [json.loads(line) for line in (eval_data / "truth.jsonl").read_text().splitlines()]
    truth = next(
        truth
        for truth in truths
        if truth["path"] == f"text/{name}" and truth["kind"] in ("ocr_contains", "ocr_lines")
    )
    found = [line.text for pixels in pages(eval_data / "text" / name) for line in read(pixels)[0]]
    joined = " ".join(" ".join(found).split())
    if truth.get("case") == "lower":
        joined = joined.lower()
    assert [wanted for wanted in truth["expected"] if wanted not in joined] == []


def test_small_print_in_long_lines(eval_data: Path) -> None:
    # rapidocr with its defaults turns most of these lines upside down before it reads them.
    (lines,) = read(*pages(eval_data / "text" / "skimage_page.png"))
    assert "the markers are found at the two extreme parts of the" in texts(lines)
    assert "background. These markers are pixels that we can label" in texts(lines)


def test_photographs_without_text_have_none(eval_data: Path) -> None:
    (lines,) = read(
        *pages(eval_data / "photos" / "photoprism" / "aurora.jpg"), min_confidence=0.9, detect_px=960
    )
    assert lines == []


def test_lines_have_confidence_and_place() -> None:
    ((line,),) = read(drawn("Harbour 1911", size=(400, 200)))
    assert line.text == "Harbour 1911"
    assert 0.8 < line.confidence <= 1
    # Drawn from (20, 20), letters of 28 px, in a frame of 400 x 200.
    assert line.region.x == pytest.approx(20 / 400, abs=0.03)
    assert line.region.y == pytest.approx(24 / 200, abs=0.05)
    assert line.region.x + line.region.width == pytest.approx(195 / 400, abs=0.05)
    assert line.region.y + line.region.height == pytest.approx(48 / 200, abs=0.06)


def test_coloured_letters_are_read() -> None:
    image = PIL.Image.new("RGB", (400, 160), "white")
    pen, font = PIL.ImageDraw.Draw(image), PIL.ImageFont.load_default(32)
    pen.text((20, 20), "crimson", "red", font=font)
    pen.text((20, 90), "ocean", "blue", font=font)
    (lines,) = read(np.array(image))
    assert texts(lines) == ["crimson", "ocean"]


def test_reading_order_is_by_rows_then_columns() -> None:
    image = PIL.Image.new("RGB", (900, 260), "white")
    pen, font = PIL.ImageDraw.Draw(image), PIL.ImageFont.load_default(32)
    for x, y, word in [(600, 20, "second"), (20, 26, "first"), (600, 140, "fourth"), (20, 134, "third")]:
        pen.text((x, y), word, "black", font=font)
    (lines,) = read(np.array(image))
    assert texts(lines) == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_turned_lines_are_read(quarter_turns: int) -> None:
    page = drawn("Photograph by A. Larsen", size=(500, 90))
    (lines,) = read(np.rot90(page, quarter_turns).copy())
    assert texts(lines) == ["Photograph by A. Larsen"]


def test_a_line_up_the_side_does_not_mix_the_rows() -> None:
    page = drawn("The first line", "The second line", "The third line", size=(400, 400), pitch_px=120)
    credit = np.rot90(drawn("Photograph by A. Larsen", size=(400, 70)))
    (lines,) = read(np.concatenate([page, credit], axis=1))
    assert sorted(texts(lines)) == sorted(
        ["The first line", "The second line", "The third line", "Photograph by A. Larsen"]
    )
    assert [text for text in texts(lines) if text.startswith("The")] == [
        "The first line",
        "The second line",
        "The third line",
    ]


def test_unsure_lines_are_left_out() -> None:
    page = drawn("Harbour")
    ((line,),) = read(page, min_confidence=0)
    assert read(page, min_confidence=min(1.0, line.confidence + 0.001)) == (
        [[]] if line.confidence < 1 else [[line]]
    )


def test_a_narrow_banner_is_read() -> None:
    ((line,),) = read(drawn("Departures", size=(1600, 56), letters_px=24)[16:])
    assert line.text == "Departures"
    assert line.region.y >= 0 and line.region.y + line.region.height <= 1


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2000), (2000, 1), (7, 7), (8, 2048), (2048, 8), (30, 30)], ids=str
)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_odd_shapes_have_no_text(shape: tuple[int, int], level: int) -> None:
    assert read(np.full((*shape, 3), level, np.uint8)) == [[]]


def test_batches_are_aligned_and_change_nothing() -> None:
    with_text, without = drawn("Harbour"), np.full((60, 200, 3), 128, np.uint8)
    other = drawn("Museum", "of 1911")
    assert read() == []
    batch = read(with_text, without, other)
    assert [texts(lines) for lines in batch] == [["Harbour"], [], ["Museum", "of 1911"]]
    assert batch == [*read(with_text), *read(without), *read(other)]


def test_threads_share_one_reader() -> None:
    ocr.enrich_shutdown()
    page = drawn("Harbour", "Museum")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read, [page] * 8))
    assert all(result == results[0] for result in results)
    assert texts(results[0][0]) == ["Harbour", "Museum"]


def test_pixels_are_not_written_to() -> None:
    page = drawn("Harbour")
    before = page.copy()
    read(page)
    assert (page == before).all()


def test_options_are_checked() -> None:
    with pytest.raises(pydantic.ValidationError):
        ocr.Options(min_confidence=2)
    with pytest.raises(pydantic.ValidationError):
        ocr.Options(confidence=0.5)


def test_the_model_is_part_of_the_revision() -> None:
    assert ocr.revision.startswith("1 ")
    assert "rec" in ocr.revision


@pytest.mark.parametrize(("package", "extra"), [("rapidocr", "ocr"), ("onnxruntime", "cpu")])
def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    ocr.check(ocr.Options(), None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(errors.ExtraMissing, match=rf"pip install 'enrich-dam\[{extra}\]'"):
        ocr.check(ocr.Options(), None)


def test_a_failure_of_the_reader_is_ours() -> None:
    floats = np.zeros((60, 200, 1), np.float16)  # cv2 knows no such pixels
    with pytest.raises(errors.InferenceError, match="the text reader failed"):
        read(floats)


def test_it_is_silent_offline_and_writes_nothing(tmp_path: Path) -> None:
    """In a process of its own, where every connection fails and the package's files are watched."""
    program = textwrap.dedent("""
        import logging, socket, sys
        from pathlib import Path

        def refuse(event, arguments):
            if event in ("socket.connect", "socket.getaddrinfo"):
                raise SystemExit(f"{event} {arguments}")
            if event == "open" and "rapidocr" in str(arguments[0]) and set(str(arguments[1])) & set("wax+"):
                if not str(arguments[0]).endswith(".pyc") and "__pycache__" not in str(arguments[0]):
                    raise SystemExit(f"writes {arguments}")

        sys.addaudithook(refuse)
        import numpy as np
        from enrich.plugins import ocr
        from enrich.types import Context, Rendition

        assert "rapidocr" not in sys.modules, "rapidocr is to be imported on first use"
        pixels = np.full((64, 64, 3), 255, np.uint8)
        context = Context("s", ocr.Options(), None, [()], None, None, None, logging.getLogger("s"))
        assert ocr.enrich_text([Rendition(None, None, 0, pixels, 64, 64, 64, 64)], context) == [[]]
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # ONNX Runtime keeps a device id and a queue of usage data in ~/.cache unless it is told not to.
    assert list(tmp_path.iterdir()) == []
