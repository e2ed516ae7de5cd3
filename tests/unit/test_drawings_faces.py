import random

import numpy as np
import pytest

from enrich.drawings.faces import AGE_GROUPS, draw_face


def test_the_same_seed_draws_the_same_face():
    first, again = (draw_face(random.Random(3), "65+", 96) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert draw_face(random.Random(4), "65+", 96).tobytes() != first.tobytes()


@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_every_group_draws_varied_faces(age_group):
    faces = [draw_face(random.Random(seed), age_group, 64) for seed in range(12)]
    assert {face.size for face in faces} == {(64, 64)}
    assert {face.mode for face in faces} == {"RGB"}
    assert len({face.tobytes() for face in faces}) == 12


def test_the_face_does_not_depend_on_the_size():
    small, large = (draw_face(random.Random(8), "21-44", size_px) for size_px in (128, 640))
    difference = np.abs(np.asarray(large.resize((128, 128)), float) - np.asarray(small, float))
    assert difference.mean() < 2


def test_faces_stay_within_the_picture():
    # The head's middle is near the picture's: the corners above the shoulders show the background.
    for seed in range(20):
        pixels = np.asarray(draw_face(random.Random(seed), "13-20", 100))
        assert (pixels[1, 1] == pixels[1, 98]).all()


def test_colours_are_flat():
    pixels = np.asarray(draw_face(random.Random(5), "45-64", 400)).reshape(-1, 3)
    _, counts = np.unique(pixels, axis=0, return_counts=True)
    assert np.sort(counts)[-12:].sum() > 0.85 * len(pixels)
