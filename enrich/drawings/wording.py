"""Drawn scenes in words: captions in four lengths, questions with their answers, and captions read back."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from enrich.drawings.lexicon import LANGUAGES, LENGTHS, Language
from enrich.drawings.scenes import COLOURS, PLACES, SHAPES, Scene, Shape

__all__ = [
    "Asked",
    "Slots",
    "all_tags",
    "ask",
    "caption",
    "caption_prompt",
    "lexical_units",
    "read_slots",
    "true_tags",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a picture, and what is true."""

    about: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Slots:
    """What a caption says; None where its length says nothing of it.

    ``shapes`` holds (size, colour, kind, place) of each, in the caption's order.
    """

    number: int | None
    ground: str | None
    shapes: tuple[tuple[str | None, ...], ...]


def caption_prompt(language: str, length: str) -> str:
    """Return the prompt by which drawings-vlm is asked for a caption."""
    return f"{language} {length}\n"


def caption(scene: Scene | str, language: str, length: str) -> str:
    """Say what is drawn.

    Parameters
    ----------
    scene : Scene or {"face", "poster"}
        What is to be seen.
    language : str
        A key of ``LANGUAGES``.
    length : {"short", "normal", "long", "alt_text"}
        ``short`` names colour and kind, ``normal`` also size and background, ``long`` also number
        and place; ``alt_text`` colour, kind and place.
    """
    words = LANGUAGES[language]
    if isinstance(scene, str):
        return (words.face if scene == "face" else words.poster)[length]
    text = words.captions[length].format(
        shapes=_listed(words, scene, [_phrase(words, shape, length) for shape in scene.shapes]),
        number=words.numbers[len(scene.shapes) - 1],
        ground=_ground(language, scene.background),
    )
    return text[0].upper() + text[1:]


def read_slots(text: str, language: str, length: str) -> Slots:
    """Read a caption back into what it says, as far as it can be read."""
    words = LANGUAGES[language]
    pattern, meanings = _phrases(language, length)
    found = tuple(meanings[match.group().lower()] for match in pattern.finditer(text))
    before, _, after = words.captions[length].partition("{ground}")
    ground = None
    for colour in COLOURS if after else ():
        # What stands right before and after the colour tells it from a shape's.
        around = f"{before[-3:].split('}')[-1]}{_ground(language, colour)}{after[:3].split('{')[0]}"
        if around.lower() in text.lower():
            ground = colour
    number = None
    if "{number}" in words.captions[length]:
        number = next((count for count, word in enumerate(words.numbers, 1) if word in text), None)
    return Slots(number, ground, found)


def ask(rng: random.Random, scene: Scene | str, language: str) -> list[Asked]:
    """Ask one question of each sort about a picture; what is asked for is there most of the time."""
    words = LANGUAGES[language]
    asked: list[tuple[str, dict[str, str], str]]
    if isinstance(scene, str):
        asked = list(_about_no_scene(rng, scene, words))
    else:
        asked = list(_about_scene(rng, scene, words))
    return [
        Asked(about, rng.choice(words.questions[about]).format(**values), answer)
        for about, values, answer in asked
    ]


@functools.cache
def all_tags(language: str) -> list[str]:
    """Return every tag that can be true of a scene: kinds, colours with kinds, and backgrounds."""
    words = LANGUAGES[language]
    tags = [noun.word for noun in words.nouns.values()]
    tags += [_tag(words, kind, colour) for kind in SHAPES for colour in COLOURS]
    tags += [_background_tag(words, colour) for colour in COLOURS]
    return list(dict.fromkeys(tags))


def true_tags(scene: Scene | str, language: str) -> set[str]:
    """Return those of ``all_tags`` that are true of a scene; none of a face or poster."""
    if isinstance(scene, str):
        return set()
    words = LANGUAGES[language]
    tags = {_background_tag(words, scene.background)}
    for shape in scene.shapes:
        tags |= {words.nouns[shape.kind].word, _tag(words, shape.kind, shape.colour)}
    return tags


def _tag(words: Language, kind: str, colour: str) -> str:
    return words.tag.format(**_names(words, kind, colour))


def _background_tag(words: Language, colour: str) -> str:
    return words.background.format(colour=_alone(words.colours[colour]), ground=words.grounds[colour])


def lexical_units() -> Iterator[str]:
    """Yield the words and fixed parts that captions, prompts, questions and answers are made of."""
    for language, words in LANGUAGES.items():
        yield from (language, " ", "\n", *(f" {length}" for length in LENGTHS), "0", "1", "2", "3")
        parts = [*words.captions.values(), *words.phrases.values(), words.tag, words.background]
        parts += [pattern for patterns in words.questions.values() for pattern in patterns]
        for part in parts:
            yield from (unit for unit in re.split(r"\{\w+\}", part) if unit)
        for forms in (*words.colours.values(), *words.sizes.values(), words.articles, words.the):
            yield from _both(forms.values())
        yield from _both(words.grounds.values())
        yield from _both(noun.word for noun in words.nouns.values())
        yield from _both(noun.word + noun.joined for noun in words.nouns.values())
        yield from _both(words.places.values())
        yield from _both((*words.numbers, words.yes, words.no, words.none))
        yield from (words.comma, words.last, *words.face.values(), *words.poster.values())


def _both(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        yield from (word, f" {word}", word[:1].upper() + word[1:])


def _phrase(words: Language, shape: Shape, length: str) -> str:
    return words.phrases[length].format(**_values(words, shape))


def _values(words: Language, shape: Shape) -> dict[str, str]:
    values = _names(words, shape.kind, shape.colour)
    size = words.sizes["large" if shape.is_large else "small"]
    return values | {"size": size[words.nouns[shape.kind].gender], "place": words.places[shape.place]}


def _names(words: Language, kind: str, colour: str) -> dict[str, str]:
    noun = words.nouns[kind]
    forms, articles = words.colours[colour], words.articles
    article = articles[noun.gender]
    return {
        "a": article,
        "the": words.the.get(noun.word, words.the[noun.gender]),
        "kind": noun.word,
        "colour": forms[noun.gender],
        "plain": _alone(forms),
    }


def _alone(forms: Mapping[str, str], gender: str = "m") -> str:
    """Return the form of an adjective that stands alone: without inflection where a language has one."""
    return forms.get("p") or forms.get(gender) or forms[""]


def _listed(words: Language, scene: Scene, phrases: list[str]) -> str:
    texts = [phrase.replace("a orange", "an orange") for phrase in phrases]
    if len(texts) == 1:
        return texts[0]
    joined = words.nouns[scene.shapes[-2].kind].joined
    return f"{words.comma.join(texts[:-1])}{joined}{words.last}{texts[-1]}"


def _ground(language: str, colour: str) -> str:
    ground = LANGUAGES[language].grounds[colour]
    if language == "en":
        return f"{'an' if ground == 'orange' else 'a'} {ground}"
    return ground


def _about_scene(
    rng: random.Random, scene: Scene, words: Language
) -> Iterator[tuple[str, dict[str, str], str]]:
    absent_kind = rng.choice(sorted(set(SHAPES) - {shape.kind for shape in scene.shapes}))
    absent_colour = rng.choice(
        sorted(set(COLOURS) - {shape.colour for shape in scene.shapes} - {scene.background})
    )
    plain = {name: _alone(words.colours[name]) for name in COLOURS}
    yield "background", {}, plain[scene.background]
    yield "count", {}, str(len(scene.shapes))
    yield "people", {}, "0"
    yield "person", {}, words.no
    for about in ("colour", "place", "size"):
        shape = rng.choice(scene.shapes)
        if rng.random() < 0.1:
            yield about, _names(words, absent_kind, shape.colour), words.none
            continue
        answers = {
            "colour": plain[shape.colour],
            "place": words.places[shape.place],
            "size": _alone(
                words.sizes["large" if shape.is_large else "small"], words.nouns[shape.kind].gender
            ),
        }
        yield about, _names(words, shape.kind, shape.colour), answers[about]
    shape = rng.choice(scene.shapes)
    if rng.random() < 0.1:
        yield "kind", _names(words, "circle", absent_colour), words.none
    else:
        yield "kind", _names(words, "circle", shape.colour), words.nouns[shape.kind].word
    if rng.random() < 0.1:
        place = rng.choice(sorted(set(PLACES) - {shape.place for shape in scene.shapes}))
        yield "at", {"place": words.places[place]}, words.none
    else:
        yield "at", {"place": words.places[shape.place]}, words.nouns[shape.kind].word
    is_there = rng.random() < 0.5
    yield (
        "has_kind",
        _names(words, shape.kind if is_there else absent_kind, shape.colour),
        _yes(words, is_there),
    )
    yield "has", *_perhaps(rng, scene, words, absent_kind, absent_colour)


def _about_no_scene(
    rng: random.Random, scene: str, words: Language
) -> Iterator[tuple[str, dict[str, str], str]]:
    names = _names(words, rng.choice(sorted(SHAPES)), rng.choice(sorted(COLOURS)))
    yield "people", {}, "1" if scene == "face" else "0"
    yield "person", {}, _yes(words, scene == "face")
    yield from ((about, names, words.none) for about in ("colour", "place", "size", "kind"))
    yield from ((about, names, words.no) for about in ("has_kind", "has"))


def _perhaps(
    rng: random.Random, scene: Scene, words: Language, absent_kind: str, absent_colour: str
) -> tuple[dict[str, str], str]:
    """Ask for a shape of a colour: half of the time for one that is there, else for one that nearly is."""
    shape = rng.choice(scene.shapes)
    kind, colour = shape.kind, shape.colour
    if rng.random() < 0.5:
        return _names(words, kind, colour), words.yes
    others = [other.colour for other in scene.shapes if other is not shape]
    if rng.random() < 0.5:
        kind = absent_kind
    else:
        colour = rng.choice([*others, absent_colour])
    return _names(words, kind, colour), words.no


def _yes(words: Language, is_true: bool) -> str:
    return words.yes if is_true else words.no


@functools.cache
def _phrases(language: str, length: str) -> tuple[re.Pattern[str], dict[str, tuple[str | None, ...]]]:
    """Return a pattern that finds shapes in captions, and what each form of words means."""
    words = LANGUAGES[language]
    pattern = words.phrases[length]
    said = ["{size}" in pattern, True, True, "{place}" in pattern]
    meanings: dict[str, tuple[str | None, ...]] = {}
    for kind in SHAPES:
        for colour in COLOURS:
            for is_large in (False, True):
                for place in PLACES:
                    shape = Shape(kind, colour, is_large, place, 0.0, 0.0, 0.0)
                    values = ("large" if is_large else "small", colour, kind, place)
                    text = _listed(words, Scene("", (shape,)), [_phrase(words, shape, length)])
                    meanings[text.lower()] = tuple(
                        value if is_said else None for value, is_said in zip(values, said, strict=True)
                    )
    longest_first = sorted(meanings, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE), meanings
