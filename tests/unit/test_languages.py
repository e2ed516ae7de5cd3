"""Texts are told apart by their language, and short ones are left alone."""

import random

import pytest

from enrich.drawings.scenes import compose_scene
from enrich.drawings.wording import caption
from enrich.languages import INSTRUCTIONS, LANGUAGES, fits

SAID = {
    "en": "The picture shows two people who walk along a beach at sunset, one of them with a red umbrella.",
    "zh": "图片里有两个人在日落时沿着海滩散步，其中一个人拿着一把红色的雨伞。",
    "fr": "L'image montre deux personnes qui marchent sur la plage au coucher du soleil.",
    "de": "Das Bild zeigt zwei Menschen, die bei Sonnenuntergang am Strand spazieren gehen.",
    "es": "La imagen muestra a dos personas que caminan por la playa al atardecer con un paraguas rojo.",
    "ja": "夕暮れの浜辺を二人の人が歩いていて、そのうちの一人は赤い傘を持っています。",
    "ko": "해 질 녘 해변을 두 사람이 걷고 있으며 그중 한 사람은 빨간 우산을 들고 있습니다.",
}


@pytest.mark.parametrize("said", LANGUAGES)
@pytest.mark.parametrize("wanted", LANGUAGES)
def test_a_sentence_fits_its_own_language_only(said: str, wanted: str) -> None:
    assert fits(SAID[said], wanted) == (said == wanted)
    assert fits(SAID[said], f"{wanted}-XX") == (said == wanted)


@pytest.mark.parametrize("text", ["", "42", "red", "Mona Lisa", "Yes, three.", "☀☀☀☀☀☀☀☀☀☀☀☀☀☀☀☀☀☀☀☀", "赤"])
def test_short_texts_are_not_judged(text: str) -> None:
    assert all(fits(text, language) for language in LANGUAGES)


def test_a_quoted_name_does_not_make_another_language() -> None:
    assert fits(
        'Auf dem Schild über der Tür steht in roter Schrift "東京ラーメン", daneben hängt Wäsche.', "de"
    )
    assert fits("看板には赤い字で「TOKYO RAMEN」と書かれていて、その隣に洗濯物が干してあります。", "ja")


def test_what_is_quoted_is_not_judged() -> None:
    for left, right in (*zip("“«「『„", "”»」』“", strict=True), '""'):
        assert fits(f"The sign says {left}{SAID['de']}{right} in large red letters.", "en")
        assert fits(left + SAID["ko"] + right, "fr")


def test_unknown_languages_are_not_judged() -> None:
    assert fits(SAID["en"], "tlh")


def test_captions_of_all_lengths_fit_their_languages() -> None:
    rng = random.Random(1)
    for _ in range(5):
        scene = compose_scene(rng)
        for language in LANGUAGES:
            for length in ("short", "normal", "long", "alt_text"):
                assert fits(caption(scene, language, length), language)
            long = caption(scene, language, "long")
            assert [other for other in LANGUAGES if fits(long, other)] == [language]


def test_there_is_an_instruction_for_each_language() -> None:
    assert set(INSTRUCTIONS) == set(LANGUAGES)
