import itertools
import math
import random

import numpy as np
import pytest

from enrich.drawings.scenes import COLOURS, SHAPES, Scene, Shape, draw_scene


def scenes(count):
    return [draw_scene(random.Random(seed), 160) for seed in range(count)]


def test_the_same_seed_draws_the_same_scene():
    (first, said), (again, said_again) = (draw_scene(random.Random(3), 96) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert said == said_again


def test_shapes_do_not_overlap_and_lie_within():
    for _, scene in scenes(200):
        assert 1 <= len(scene.shapes) <= 3
        for one, other in itertools.combinations(scene.shapes, 2):
            assert math.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius
        for shape in scene.shapes:
            assert shape.radius <= shape.x <= 1 - shape.radius
            assert shape.radius <= shape.y <= 1 - shape.radius


def test_the_description_says_what_is_drawn():
    for image, scene in scenes(60):
        pixels = np.asarray(image)
        assert tuple(pixels[0, 0]) == COLOURS[scene.background]
        for shape in scene.shapes:
            assert tuple(pixels[int(shape.y * 160), int(shape.x * 160)]) == COLOURS[shape.colour]
            assert shape.colour != scene.background
        assert len({shape.name for shape in scene.shapes}) == len(scene.shapes)
        assert len({shape.colour for shape in scene.shapes}) == len(scene.shapes)


def test_all_words_occur():
    drawn = [scene for _, scene in scenes(300)]
    shapes = [shape for scene in drawn for shape in scene.shapes]
    assert {shape.name for shape in shapes} == set(SHAPES)
    assert {shape.colour for shape in shapes} == {scene.background for scene in drawn} == set(COLOURS)
    assert {len(scene.shapes) for scene in drawn} == {1, 2, 3}
    assert min(s.radius for s in shapes if s.is_large) > 1.5 * max(s.radius for s in shapes if not s.is_large)


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (1, "A large red circle on an orange background."),
        (2, "A large red circle and a small blue star on an orange background."),
        (3, "A large red circle, a small blue star and a small pink heart on an orange background."),
    ],
)
def test_a_scene_in_words(count, sentence):
    shapes = (
        Shape("circle", "red", True, 0.3, 0.3, 0.2),
        Shape("star", "blue", False, 0.7, 0.7, 0.1),
        Shape("heart", "pink", False, 0.8, 0.2, 0.1),
    )
    assert Scene("orange", shapes[:count]).sentence == sentence
