import random

import pytest

from enrich.drawings.lexicon import LANGUAGES, LENGTHS
from enrich.drawings.scenes import COLOURS, PLACES, SHAPES, Scene, Shape, compose_scene
from enrich.drawings.wording import Slots, all_tags, ask, caption, read_slots, true_tags

SCENE = Scene(
    "orange",
    (
        Shape("star", "blue", True, "top left", 0.21, 0.21, 0.2),
        Shape("heart", "white", False, "centre", 0.5, 0.5, 0.13),
    ),
)


@pytest.mark.parametrize(
    ("language", "length", "text"),
    [
        ("en", "short", "A blue star and a white heart."),
        ("en", "normal", "A large blue star and a small white heart on an orange background."),
        ("en", "alt_text", "Drawing of a blue star at the top left and a white heart in the centre."),
        (
            "en",
            "long",
            "The drawing shows two shapes on an orange background: a large blue star at the top left and "
            "a small white heart in the centre.",
        ),
        ("de", "normal", "Ein großer blauer Stern und ein kleines weißes Herz auf orangefarbenem Grund."),
        ("fr", "normal", "Une grande étoile bleue et un petit cœur blanc sur fond orange."),
        ("es", "normal", "Una estrella azul grande y un corazón blanco pequeño sobre fondo naranja."),
        ("zh", "normal", "橙色背景上有一个大蓝色星形和一个小白色心形。"),
        ("ja", "normal", "オレンジ色の背景に大きな青色の星と小さな白色のハート。"),
        ("ko", "normal", "주황색 배경에 큰 파란색 별과 작은 흰색 하트."),
    ],
)
def test_a_scene_in_words(language, length, text):
    assert caption(SCENE, language, length) == text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", LENGTHS)
def test_captions_are_read_back_as_they_were_meant(language, length):
    sizes, places = length in ("normal", "long"), length in ("long", "alt_text")
    for seed in range(150):
        scene = compose_scene(random.Random(seed))
        shapes = tuple(
            (
                ("large" if shape.is_large else "small") if sizes else None,
                shape.colour,
                shape.kind,
                shape.place if places else None,
            )
            for shape in scene.shapes
        )
        ground = scene.background if sizes else None
        number = len(scene.shapes) if length == "long" else None
        text = caption(scene, language, length)
        assert read_slots(text, language, length) == Slots(number, ground, shapes), text


def test_a_wrong_caption_is_read_as_what_it_says():
    wrong = caption(SCENE, "en", "long").replace("blue", "red").replace("two", "three")
    assert read_slots(wrong, "en", "long").number == 3
    assert read_slots(wrong, "en", "long").shapes[0] == ("large", "red", "star", "top left")
    assert read_slots("nothing of the kind", "en", "long") == Slots(None, None, ())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_words(language):
    words = LANGUAGES[language]
    assert set(words.nouns) == set(SHAPES)
    assert set(words.colours) == set(words.grounds) == set(COLOURS)
    assert set(words.places) == set(PLACES)
    assert len({noun.word for noun in words.nouns.values()}) == len(SHAPES)
    assert len(set(words.grounds.values())) == len(COLOURS)
    assert len(set(words.places.values())) == len(PLACES)
    for texts in (words.captions, words.phrases, words.face, words.poster):
        assert set(texts) == set(LENGTHS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_are_true(language):
    words = LANGUAGES[language]
    seen = set()
    for seed in range(60):
        scene = compose_scene(random.Random(seed))
        for asked in ask(random.Random(seed), scene, language):
            seen.add(asked.about)
            assert "{" not in asked.question
            if asked.about == "count":
                assert asked.answer == str(len(scene.shapes))
            elif asked.about == "person":
                assert asked.answer == words.no
            elif asked.about == "place" and asked.answer != words.none:
                assert asked.answer in {words.places[shape.place] for shape in scene.shapes}
    assert seen == set(words.questions)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_asked_of_a_face_or_poster(language):
    words = LANGUAGES[language]
    for kind, people, is_person in (("face", "1", words.yes), ("poster", "0", words.no)):
        answers = {asked.about: asked.answer for asked in ask(random.Random(0), kind, language)}
        assert (answers.pop("people"), answers.pop("person")) == (people, is_person)
        assert (answers.pop("has_kind"), answers.pop("has")) == (words.no, words.no)
        assert set(answers.values()) == {words.none}


@pytest.mark.parametrize("language", LANGUAGES)
def test_true_tags_are_some_of_all(language):
    assert true_tags(SCENE, language) < set(all_tags(language))
    assert len(true_tags(SCENE, language)) == 5
    assert true_tags("face", language) == set()


def test_tags_in_english():
    assert true_tags(SCENE, "en") == {"orange background", "star", "blue star", "heart", "white heart"}
