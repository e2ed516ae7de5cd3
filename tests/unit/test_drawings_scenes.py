import itertools
import math
import random

import numpy as np

from enrich.drawings.scenes import COLOURS, PLACES, SHAPES, compose_scene, draw_scene


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
        assert len({shape.kind for shape in scene.shapes}) == len(scene.shapes)
        assert len({shape.colour for shape in scene.shapes}) == len(scene.shapes)


def test_all_words_occur():
    drawn = [scene for _, scene in scenes(300)]
    shapes = [shape for scene in drawn for shape in scene.shapes]
    assert {shape.kind for shape in shapes} == set(SHAPES)
    assert {shape.colour for shape in shapes} == {scene.background for scene in drawn} == set(COLOURS)
    assert {len(scene.shapes) for scene in drawn} == {1, 2, 3}
    assert min(s.radius for s in shapes if s.is_large) > 1.3 * max(s.radius for s in shapes if not s.is_large)


def test_places_are_no_matter_of_opinion():
    for seed in range(300):
        for shape in compose_scene(random.Random(seed)).shapes:
            row, column = divmod(PLACES.index(shape.place), 3)
            # The middle third, less a gap on both sides.
            assert [shape.x < 0.29, 0.45 < shape.x < 0.55, shape.x > 0.71][column]
            assert [shape.y < 0.29, 0.45 < shape.y < 0.55, shape.y > 0.71][row]


def test_shapes_stand_in_reading_order():
    for seed in range(100):
        places = [PLACES.index(shape.place) for shape in compose_scene(random.Random(seed)).shapes]
        assert places == sorted(set(places))


def test_what_is_composed_is_what_is_drawn():
    assert compose_scene(random.Random(5)) == draw_scene(random.Random(5), 64)[1]
