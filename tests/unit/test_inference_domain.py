import io
import random

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from enrich.drawings.faces import AGE_GROUPS, draw_face
from enrich.drawings.scenes import draw_scene
from enrich.inference.domain import flat_share

# The threshold of the bundled model's manifest; test_drawings_model.py checks that it is this one.
FLAT_SHARE_MIN = 0.48
RENDITIONS_PX = (224, 512, 768)


def rendition(file, edge_px):
    """Pixels as the pipeline makes them: reduced decoding, upright, shrunk to a longest edge."""
    with PIL.Image.open(file) as image:
        image.draft("RGB", (edge_px, edge_px))
        upright = PIL.ImageOps.exif_transpose(image).convert("RGB")
    return shrunk(upright, edge_px)


def shrunk(image, edge_px):
    smaller = image.copy()
    smaller.thumbnail((edge_px, edge_px), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(smaller)


def saved(image, rng):
    file = io.BytesIO()
    form = rng.choice(("PNG", "JPEG", "JPEG", "WEBP"))
    image.save(file, form, **({} if form == "PNG" else {"quality": rng.randint(75, 95)}))
    file.seek(0)
    return file


def drawing(seed):
    rng = random.Random(2_000_000 + seed)
    size_px = rng.choice((64, 96, 128, 200, 300, 400, 600))
    if seed % 3 == 0:
        return draw_scene(rng, size_px)[0], rng
    return draw_face(rng, rng.choice(AGE_GROUPS), size_px), rng


def test_drawings_are_inside():
    shares = []
    for seed in range(160):
        image, rng = drawing(seed)
        shares.append(flat_share(rendition(saved(image, rng), 512)))
    assert np.mean(np.array(shares) < FLAT_SHARE_MIN) <= 0.01


def test_photographs_are_outside(eval_data):
    photographs = sorted(path for path in (eval_data / "photos").rglob("*") if path.is_file())
    shares = []
    for path in photographs:
        largest = PIL.Image.fromarray(rendition(path, max(RENDITIONS_PX)))
        shares.append([flat_share(shrunk(largest, edge_px)) for edge_px in RENDITIONS_PX])
    assert len(photographs) > 100
    assert (np.mean(np.array(shares) >= FLAT_SHARE_MIN, axis=0) <= 0.01).all()


def test_a_photographs_frame_does_not_count(eval_data):
    pixels = rendition(eval_data / "photos" / "coco" / "000000034417.jpg", 384)
    for level in (0, 20, 128, 235, 255):
        framed = np.pad(pixels, ((150, 150), (150, 150), (0, 0)), constant_values=level)
        assert flat_share(framed) < FLAT_SHARE_MIN


def test_what_says_nothing_is_outside():
    assert flat_share(np.zeros((100, 100, 3), np.uint8)) == 0
    assert flat_share(np.full((100, 100, 3), 255, np.uint8)) == 0
    assert flat_share(np.full((7, 300, 3), 90, np.uint8)) == 0


def test_one_colour_is_flat_and_a_gradient_is_not():
    assert flat_share(np.full((64, 64, 3), 90, np.uint8)) == 1
    ramp = np.linspace(20, 235, 300).astype(np.uint8)
    assert flat_share(np.broadcast_to(ramp[:, None], (300, 300, 3))) < 0.1
    noise = np.random.default_rng(0).integers(4, 252, (300, 300, 3)).astype(np.uint8)
    assert flat_share(noise) == 0


def test_a_flat_backdrop_alone_is_not_enough():
    # Two colours with a shaded ball before them: the shading decides.
    down, right = np.mgrid[-1:1:300j, -1:1:300j]
    ball = (down**2 + right**2) < 0.6
    pixels = np.full((300, 300, 3), 180, np.uint8)
    pixels[ball] = (60 + 80 * (down[ball] + right[ball] + 1.2) / 1.2).clip(30, 220)[:, None].astype(np.uint8)
    assert flat_share(pixels) < 0.3
    pixels[ball] = (200, 60, 60)
    assert flat_share(pixels) == 1


def test_pixels_may_be_read_only_or_a_view():
    pixels = np.asarray(draw_face(random.Random(1), "0-12", 300))
    assert not pixels.flags.writeable
    assert flat_share(pixels[:, ::-1]) == pytest.approx(flat_share(pixels), abs=0.05)
