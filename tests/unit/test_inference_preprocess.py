"""The rules are those of the slow processors of transformers 4.57, said again here in plain numpy."""

import math

import hypothesis
import numpy as np
import PIL.Image
import pytest
from hypothesis import strategies as st

from enrich.inference.preprocess import Preprocessing
from enrich.types import Rendition

BICUBIC = PIL.Image.Resampling.BICUBIC
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(height, width):
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def resized(pixels, height, width, resample):
    return np.asarray(PIL.Image.fromarray(pixels).resize((width, height), resample))


def centre_cropped(pixels, height, width):
    """Pad into the larger of both sizes, then cut, as ``transformers.image_transforms.center_crop``."""
    old_height, old_width = pixels.shape[:2]
    canvas = np.zeros((max(height, old_height), max(width, old_width), 3), np.uint8)
    top_pad = math.ceil((canvas.shape[0] - old_height) / 2)
    left_pad = math.ceil((canvas.shape[1] - old_width) / 2)
    canvas[top_pad : top_pad + old_height, left_pad : left_pad + old_width] = pixels
    top = (old_height - height) // 2 + top_pad
    left = (old_width - width) // 2 + left_pad
    return canvas[top : top + height, left : left + width]


def normalised(pixels, scale, mean, std):
    scaled = (pixels.astype(np.float64) * scale).astype(np.float32)
    return (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


@pytest.mark.parametrize("size", [(80, 100), (100, 80), (333, 500), (1, 7), (224, 224)])
def test_both_edges(size):
    pixels = noise(*size)
    preprocessing = Preprocessing(resize=(48, 32), crop=None, mean=MEAN, std=STD)

    expected = normalised(resized(pixels, 48, 32, PIL.Image.Resampling.BILINEAR), 1 / 255, MEAN, STD)

    assert preprocessing.shape == (3, 48, 32)
    np.testing.assert_allclose(preprocessing(pixels), expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "resized_to"),
    # The longer edge is truncated: 64 * 100 / 79 = 81.01, 64 * 199 / 101 = 126.1, 64 * 10 = 640.
    [
        ((79, 100), (64, 81)),
        ((199, 101), (126, 64)),
        ((50, 500), (64, 640)),
        ((64, 64), (64, 64)),
        # Strips, whose sampling must not shift: 64 * 500 / 33 = 969.7.
        ((33, 500), (64, 969)),
        ((37, 1), (64 * 37, 64)),
    ],
)
def test_shortest_edge_and_crop(size, resized_to):
    pixels = noise(*size)
    preprocessing = Preprocessing(resize=64, crop=(56, 48), resample=BICUBIC, mean=MEAN, std=STD)

    middle = centre_cropped(resized(pixels, *resized_to, BICUBIC), 56, 48)
    expected = normalised(middle, 1 / 255, MEAN, STD).transpose(2, 0, 1)

    assert preprocessing.shape == (3, 56, 48)
    np.testing.assert_allclose(preprocessing(pixels), expected, atol=1e-6)


@hypothesis.settings(deadline=None)  # it may be a busy machine
@hypothesis.given(*[st.integers(1, 12)] * 4)
def test_a_crop_is_centred_and_padded_with_zeros(height, width, crop_height, crop_width):
    pixels = noise(height, width)
    preprocessing = Preprocessing(resize=None, crop=(crop_height, crop_width), scale=1, layout="NHWC")

    np.testing.assert_array_equal(preprocessing(pixels), centre_cropped(pixels, crop_height, crop_width))


def test_bgr_takes_mean_and_std_in_its_own_order():
    pixels = np.full((4, 4, 3), (10, 20, 30), np.uint8)
    preprocessing = Preprocessing((4, 4), None, scale=1, mean=(1, 2, 3), std=(1, 2, 4), colour="BGR")

    assert preprocessing(pixels)[:, 0, 0].tolist() == [(30 - 1) / 1, (20 - 2) / 2, (10 - 3) / 4]


def test_layouts_hold_the_same_numbers():
    pixels = noise(30, 40)
    first = Preprocessing((16, 24), None, mean=MEAN, std=STD)
    last = Preprocessing((16, 24), None, mean=MEAN, std=STD, layout="NHWC")

    assert last.shape == (16, 24, 3)
    np.testing.assert_array_equal(first(pixels), last(pixels).transpose(2, 0, 1))


def test_a_picture_and_its_pixels_give_the_same():
    pixels = noise(30, 40)
    preprocessing = Preprocessing(20, (16, 16))

    tensor = preprocessing(PIL.Image.fromarray(pixels))

    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, preprocessing(pixels))


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (2, 9_000)])
def test_a_strip_is_not_blown_up(size):
    preprocessing = Preprocessing(resize=256, crop=(224, 224), scale=1)
    enlarged = preprocessing._resize(PIL.Image.fromarray(np.full((*size, 3), 90, np.uint8)))

    # The whole strip would be 256 x 7,680,000 px.
    assert max(enlarged.size) <= 10 * 256
    assert (preprocessing(np.full((*size, 3), 90, np.uint8)) == 90).all()


@pytest.mark.parametrize("crop", [(16, 16), (12, 14), (20, 24)])
def test_the_middle_of_a_long_strip_is_within_a_level_of_the_whole(crop):
    pixels = noise(3, 220_000)
    preprocessing = Preprocessing(resize=16, crop=crop, resample=BICUBIC, scale=1, layout="NHWC")
    # 16 x 1,173,333 px, 75 MB in Pillow: more than is enlarged as a whole.
    whole = resized(pixels, 16, 16 * 220_000 // 3, BICUBIC)

    apart = np.abs(preprocessing(pixels) - centre_cropped(whole, *crop))

    assert apart.max() <= 1


def test_the_middle_of_a_strip_is_kept():
    pixels = np.zeros((10, 1000, 3), np.uint8)
    pixels[:, 490:510] = 200

    tensor = Preprocessing(resize=10, crop=(10, 20), scale=1)(pixels)

    assert (tensor == 200).all()


def test_a_size_that_varies_is_refused():
    with pytest.raises(ValueError, match="same size"):
        Preprocessing(resize=256, crop=None)


def test_equal_preprocessings_share_a_renditions_tensor():
    pixels = noise(30, 40)
    rendition = Rendition(None, None, 0, pixels, 40, 30, 40, 30)

    tensor = Preprocessing((8, 8), None).tensor(rendition)

    assert Preprocessing((8, 8), None).tensor(rendition) is tensor
    assert Preprocessing((8, 8), None, colour="BGR").tensor(rendition) is not tensor
    assert not tensor.flags.writeable
