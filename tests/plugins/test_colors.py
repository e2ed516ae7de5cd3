"""The colors plugin: names, shares and order, on flat fields, mixtures and real photographs."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageColor
import pydantic
import pytest
from enrich.plugins import colors

from enrich.types import Context, Rendition


def rendition(pixels: np.ndarray) -> Rendition:
    pixels.flags.writeable = False
    height, width = pixels.shape[:2]
    return Rendition(None, None, 0, pixels, width, height, width, height)


def describe(*pictures: np.ndarray, **options: object) -> list[dict[str, Any]]:
    log = logging.getLogger("test")
    context = Context("c", colors.Options(**options), None, [()] * len(pictures), None, None, None, log)
    return colors.enrich_data([rendition(pixels) for pixels in pictures], context)


def flat(color: str | tuple[int, ...], width: int = 8, height: int = 8) -> np.ndarray:
    return np.array(PIL.Image.new("RGB", (width, height), color))


def photograph(path: Path, size_px: int = colors.size_px) -> np.ndarray:
    with PIL.Image.open(path) as image:
        image = image.convert("RGB")
    image.thumbnail((size_px, size_px))
    return np.array(image)


def test_a_flat_picture_is_its_colour() -> None:
    assert describe(flat("red")) == [
        {"colors": [{"name": "red", "hex": "#ff0000", "share": 1.0}], "average": "#ff0000"}
    ]


def test_every_css_name_is_found_by_its_own_colour() -> None:
    for name in PIL.ImageColor.colormap:
        (said,) = describe(flat(name))
        ((color,), average) = said["colors"], said["average"]
        assert PIL.ImageColor.getrgb(color["name"]) == PIL.ImageColor.getrgb(name)
        assert color["hex"] == average == "#{:02x}{:02x}{:02x}".format(*PIL.ImageColor.getrgb(name))


@pytest.mark.parametrize(("level", "name"), [(0, "black"), (20, "black"), (128, "gray"), (200, "silver")])
def test_grays_have_gray_names(level: int, name: str) -> None:
    (said,) = describe(flat((level, level, level)))
    assert [color["name"] for color in said["colors"]] == [name]


def test_shares_are_of_the_area_largest_first() -> None:
    pixels = np.concatenate(
        [flat("navy", 100, 60), flat("gold", 100, 30), flat("white", 100, 9), flat("red", 100, 1)]
    )
    (said,) = describe(pixels)
    assert [(color["name"], color["share"]) for color in said["colors"]] == [
        ("navy", 0.6),
        ("gold", 0.3),
        ("white", 0.09),
        ("red", 0.01),
    ]


def test_count_limits_the_colours_but_not_what_they_cover() -> None:
    pixels = np.concatenate([flat("navy", 90, 60), flat("blue", 90, 30), flat("yellow", 90, 10)])
    (said,) = describe(pixels, count=2)
    assert [color["share"] for color in said["colors"]] == [0.9, 0.1]


def test_shades_of_one_colour_are_one() -> None:
    noisy = flat((200, 40, 40), 64, 64) + np.random.default_rng(1).integers(0, 12, (64, 64, 3)).astype(
        np.uint8
    )
    (said,) = describe(noisy)
    assert len(said["colors"]) == 1


def test_the_average_is_of_the_light() -> None:
    # Half the light of white is the sRGB level 188, not 128.
    checks = np.indices((16, 16)).sum(axis=0) % 2 * np.uint8(255)
    (said,) = describe(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    assert said["average"] == "#bcbcbc"


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1)], ids=str)
def test_odd_shapes(shape: tuple[int, int]) -> None:
    (said,) = describe(np.full((*shape, 3), 128, np.uint8))
    assert said["colors"] == [{"name": "gray", "hex": "#808080", "share": 1.0}]


def test_batches_are_aligned_and_change_nothing() -> None:
    pictures = [flat("red"), flat("navy", 1, 1), flat("white", 30, 2)]
    assert describe() == []
    batch = describe(*pictures)
    assert [said["colors"][0]["name"] for said in batch] == ["red", "navy", "white"]
    assert batch == [describe(pixels)[0] for pixels in pictures]


def test_options_are_checked() -> None:
    for wrong in ({"count": 0}, {"counts": 5}):
        with pytest.raises(pydantic.ValidationError):
            colors.Options(**wrong)


@pytest.fixture(scope="module")
def photographs(eval_data: Path) -> list[np.ndarray]:
    paths = sorted((eval_data / "photos" / "photoprism").glob("*.jpg"))[:12]
    assert len(paths) == 12
    return [photograph(path) for path in paths]


def test_shares_cover_a_photograph(photographs: list[np.ndarray]) -> None:
    for said in describe(*photographs):
        shares = [color["share"] for color in said["colors"]]
        assert 1 <= len(shares) <= 5
        assert shares == sorted(shares, reverse=True)
        assert 0.999 <= sum(shares) <= 1
        json.dumps(said)


def test_the_same_at_any_time_in_any_thread(photographs: list[np.ndarray]) -> None:
    once = describe(*photographs)
    with ThreadPoolExecutor(4) as pool:
        assert [said for (said,) in pool.map(describe, photographs * 2)] == once * 2


def test_hardly_changed_by_the_size(eval_data: Path) -> None:
    path = eval_data / "photos" / "photoprism" / "aurora.jpg"
    small, large = describe(photograph(path, 128), photograph(path, 512))
    assert [color["name"] for color in small["colors"][:2]] == [
        color["name"] for color in large["colors"][:2]
    ]
