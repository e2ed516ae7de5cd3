"""The quality plugin: its measures follow blur, noise and gain on real photographs."""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pydantic
import pytest
from enrich.plugins import quality

from enrich.types import Context, Rendition

SHAPES = [(1, 1), (1, 2000), (2000, 1), (2, 2), (3, 3), (40, 2000)]


def rendition(pixels: np.ndarray) -> Rendition:
    pixels.flags.writeable = False
    height, width = pixels.shape[:2]
    return Rendition(None, None, 0, pixels, width, height, width, height)


def measure(*pictures: np.ndarray, **options: object) -> list[dict[str, Any]]:
    log = logging.getLogger("test")
    context = Context("q", quality.Options(**options), None, [()] * len(pictures), None, None, None, log)
    return quality.enrich_data([rendition(pixels) for pixels in pictures], context)


def values(said: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return [one[key] for one in said]


def blurred(pixels: np.ndarray, radius_px: float) -> np.ndarray:
    return np.array(PIL.Image.fromarray(pixels).filter(PIL.ImageFilter.GaussianBlur(radius_px)))


def noisy(pixels: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(7).normal(0, deviation, (*pixels.shape[:2], 1))
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def exposed(pixels: np.ndarray, stops: float) -> np.ndarray:
    """The picture as if the camera had been set by so many stops brighter."""
    levels = np.arange(256) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4) * 2.0**stops
    light = np.clip(light, 0, 1)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(srgb * 255).astype(np.uint8)[pixels]


@pytest.fixture(scope="module")
def photographs(eval_data: Path) -> list[np.ndarray]:
    names = ["aurora.jpg", "elephant_mono.jpg", "chameleon_lime.jpg", "cat_brown.jpg", "bitcoin_gold.jpg"]
    pictures = []
    for name in names:
        with PIL.Image.open(eval_data / "photos" / "photoprism" / name) as image:
            image = image.convert("RGB")
        image.thumbnail((quality.size_px, quality.size_px))
        pictures.append(np.array(image))
    return pictures


def test_sharpness_falls_with_blur(photographs: list[np.ndarray]) -> None:
    for pixels in photographs:
        series = [pixels, *(blurred(pixels, radius) for radius in (0.7, 1, 1.5, 2, 3, 5))]
        said = measure(*series)
        sharpness = values(said, "sharpness")
        assert sharpness == sorted(sharpness, reverse=True)
        assert sharpness[0] > 20 * sharpness[-1]
        assert said[0]["is_blurred"] is False
        assert values(said[-3:], "is_blurred") == [True] * 3


def test_one_sharp_part_makes_a_picture_sharp(photographs: list[np.ndarray]) -> None:
    pixels = photographs[2]
    background = blurred(pixels, 8)
    height, width = pixels.shape[:2]
    middle = np.s_[height // 4 : height // 2, width // 4 : width // 2]
    background[middle] = pixels[middle]
    (whole, portrait) = measure(blurred(pixels, 8), background)
    assert whole["is_blurred"] is True
    assert portrait["is_blurred"] is False


def test_noise_rises_with_noise(photographs: list[np.ndarray]) -> None:
    for pixels in photographs:
        noise = values(measure(*(noisy(pixels, deviation) for deviation in (0, 3, 6, 12, 25))), "noise")
        assert noise == sorted(set(noise))


def test_noise_is_its_standard_deviation() -> None:
    gray = np.full((300, 400, 3), 128, np.uint8)
    for deviation in (2, 5, 10, 20):
        assert measure(noisy(gray, deviation))[0]["noise"] == pytest.approx(deviation, rel=0.05)
    assert measure(gray)[0]["noise"] == 0


def test_exposure_counts_stops(photographs: list[np.ndarray]) -> None:
    for pixels in photographs:
        darker = measure(*(exposed(pixels, stops) for stops in (0, -1, -2)))
        exposure = values(darker, "exposure")
        assert exposure[0] - exposure[1] == pytest.approx(1, abs=0.06)
        assert exposure[1] - exposure[2] == pytest.approx(1, abs=0.06)
        brighter = values(measure(*(exposed(pixels, stops) for stops in (0, 1, 2, 3))), "exposure")
        assert brighter == sorted(set(brighter))


def test_exposure_is_of_middle_gray() -> None:
    # The sRGB level 118 holds 18 % of the light of white.
    gray, white, black = (np.full((8, 8, 3), level, np.uint8) for level in (118, 255, 0))
    said = measure(gray, white, black)
    assert said[0]["exposure"] == pytest.approx(0, abs=0.02)
    assert said[1]["exposure"] == pytest.approx(2.47, abs=0.01)
    assert said[2]["exposure"] < -9


def test_far_too_dark_and_far_too_bright_are_told(photographs: list[np.ndarray]) -> None:
    for pixels in photographs:
        right, dark = measure(pixels, exposed(pixels, -4))
        assert (right["is_underexposed"], dark["is_underexposed"]) == (False, True)
        assert right["is_overexposed"] is False
    for said in measure(*(exposed(photographs[i], 2) for i in (2, 3))):
        assert said["is_overexposed"] is True


def test_what_stands_on_white_is_not_called_overexposed() -> None:
    product = np.full((200, 200, 3), 255, np.uint8)
    product[60:140, 60:140] = 90
    (said,) = measure(product)
    assert said["is_overexposed"] is None
    assert said["clipped_highlights"] == pytest.approx(0.84)


def test_clipping_is_a_share_of_the_area() -> None:
    pixels = np.full((100, 100, 3), 128, np.uint8)
    pixels[:10], pixels[10:30] = 0, 255
    (said,) = measure(pixels)
    assert (said["clipped_shadows"], said["clipped_highlights"]) == (0.1, 0.2)


def test_thresholds_are_options(photographs: list[np.ndarray]) -> None:
    (said,) = measure(photographs[0])
    assert measure(photographs[0], blurred_below=said["sharpness"] + 1)[0]["is_blurred"] is True
    assert measure(photographs[0], underexposed_below=0)[0]["is_underexposed"] is (said["exposure"] < 0)
    for wrong in ({"blurred_below": -1}, {"overexposed_above": 2}, {"blur": 1}):
        with pytest.raises(pydantic.ValidationError):
            quality.Options(**wrong)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_odd_shapes(shape: tuple[int, int], level: int) -> None:
    (said,) = measure(np.full((*shape, 3), level, np.uint8))
    # Nothing in a flat picture could be sharp.
    assert said["is_blurred"] is None
    assert (said["sharpness"] is None) == (min(shape) < 3)
    assert (said["noise"] is None) == (min(shape) < 3)
    json.dumps(said, allow_nan=False)


def test_batches_are_aligned_and_change_nothing(photographs: list[np.ndarray]) -> None:
    assert measure() == []
    batch = measure(*photographs)
    assert batch == [measure(pixels)[0] for pixels in photographs]
    assert len({said["sharpness"] for said in batch}) == len(batch)
    with ThreadPoolExecutor(4) as pool:
        assert [said for (said,) in pool.map(measure, photographs * 2)] == batch * 2
