"""How well the drawings models see and speak: held-out drawings through ``enrich run``, judged by SQL.

``ENRICH_HELD_OUT`` says how many scenes (default 24; the model cards were made with 2,000).
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from workplace import Workplace

from enrich.drawings.lexicon import LANGUAGES, LENGTHS
from enrich.drawings.scenes import SHAPES, Scene, draw_scene
from enrich.drawings.wording import all_tags, caption, read_slots, true_tags

COUNT = int(os.environ.get("ENRICH_HELD_OUT", "24"))
#: Training draws no seed from 1,000,000 on.
HELD_OUT_SEED = 2_000_000


def questions_of(language: str) -> dict[str, str]:
    """Ask what can be asked of any scene, each question in its first wording."""
    words = LANGUAGES[language]
    asked = {name: words.questions[name][0] for name in ("background", "count", "people", "person")}
    for kind, noun in words.nouns.items():
        names = {
            "kind": noun.word,
            "a": words.articles[noun.gender],
            "the": words.the.get(noun.word, words.the[noun.gender]),
        }
        for about in ("has_kind", "colour", "place", "size"):
            asked[f"{about}-{kind}"] = words.questions[about][0].format(**names)
    return asked


def true_answers(scene: Scene, language: str) -> dict[str, str]:
    """Return what is true; of what is not there, only that it is not."""
    words = LANGUAGES[language]
    alone = {colour: forms.get("p") or forms.get("m") or forms[""] for colour, forms in words.colours.items()}
    answers = {
        "background": alone[scene.background],
        "count": str(len(scene.shapes)),
        "people": "0",
        "person": words.no,
    }
    there = {shape.kind: shape for shape in scene.shapes}
    for kind in SHAPES:
        answers[f"has_kind-{kind}"] = words.yes if kind in there else words.no
        if shape := there.get(kind):
            sizes = words.sizes["large" if shape.is_large else "small"]
            answers[f"colour-{kind}"] = alone[shape.colour]
            answers[f"place-{kind}"] = words.places[shape.place]
            answers[f"size-{kind}"] = sizes.get("p") or sizes[words.nouns[kind].gender]
    return answers


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {
        f"{number:05}.{('png', 'jpg', 'webp')[number % 3]}": draw_scene(
            random.Random(HELD_OUT_SEED + number), 200
        )[1]
        for number in range(COUNT)
    }


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, scenes: dict[str, Scene]) -> Iterator[Workplace]:
    """A catalog in which every scene was described in all languages and lengths, and asked about."""
    folder = tmp_path_factory.mktemp("spoken")
    place = Workplace(folder, f"sqlite:///{folder}/catalog.db")
    for number, name in enumerate(scenes):
        image, _ = draw_scene(
            random.Random(HELD_OUT_SEED + number), random.Random(number).choice((120, 200, 380))
        )
        image.save(place.inbox / name)
    steps: dict[str, dict[str, object]] = {
        f"{length}-{language}": {
            "plugin": "caption",
            "model": "drawings-vlm",
            "length": length,
            "lang": language,
        }
        for language in LANGUAGES
        for length in LENGTHS
    }
    for language in LANGUAGES:
        steps[f"facts-{language}"] = {
            "plugin": "answer",
            "model": "drawings-vlm",
            "questions": {
                name: {"ask": text, "lang": language} for name, text in questions_of(language).items()
            },
        }
        vocabulary = folder / f"{language}.txt"
        vocabulary.write_text("\n".join(all_tags(language)), encoding="utf-8")
        steps[f"tags-{language}"] = {
            "plugin": "tags",
            "model": "drawings-clip",
            "vocabulary": str(vocabulary),
            "threshold": 0,
            "limit": 1,
        }
    place.config["steps"] = steps
    progress = place.run()
    assert progress.failed == 0
    yield place
    place.engine.dispose()


def captions(place: Workplace, step: str) -> dict[str, str]:
    rows = place.rows(f"SELECT path, text FROM captions WHERE step = '{step}'")
    return {Path(row["path"]).name: row["text"] for row in rows}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", LANGUAGES)
def test_normal_captions_are_right_word_for_word(
    spoken: Workplace, scenes: dict[str, Scene], language: str
) -> None:
    said = captions(spoken, f"normal-{language}")
    right = [said[name] == caption(scene, language, "normal") for name, scene in scenes.items()]
    assert np.mean(right) >= 0.9


@pytest.mark.timeout(600)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_number_size_colour_kind_place_and_background_are_right(
    spoken: Workplace, scenes: dict[str, Scene], language: str, length: str
) -> None:
    said, right = captions(spoken, f"{length}-{language}"), []
    for name, scene in scenes.items():
        expected = read_slots(caption(scene, language, length), language, length)
        read = read_slots(said[name], language, length)
        right += [
            ours == true
            for ours, true in ((read.number, expected.number), (read.ground, expected.ground))
            if true is not None
        ]
        for index, shape in enumerate(expected.shapes):
            named = read.shapes[index] if index < len(read.shapes) else (None,) * len(shape)
            right += [ours == true for ours, true in zip(named, shape, strict=True) if true is not None]
        # A shape that is not there is as wrong as one that is left out.
        right += [False] * max(0, len(read.shapes) - len(expected.shapes))
    assert np.mean(right) >= 0.98


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_are_right(spoken: Workplace, scenes: dict[str, Scene], language: str) -> None:
    rows = spoken.rows(f"SELECT path, item, text FROM answers WHERE step = 'facts-{language}'")
    said = {(Path(row["path"]).name, row["item"]): row["text"] for row in rows}
    right = [
        said[name, item] == answer
        for name, scene in scenes.items()
        for item, answer in true_answers(scene, language).items()
    ]
    assert np.mean(right) >= 0.9


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_top_tag_is_true(spoken: Workplace, scenes: dict[str, Scene], language: str) -> None:
    rows = spoken.rows(f"SELECT path, tag FROM asset_tags WHERE step = 'tags-{language}'")
    assert len(rows) == len(scenes)
    right = [row["tag"] in true_tags(scenes[Path(row["path"]).name], language) for row in rows]
    assert np.mean(right) >= 0.95


@pytest.mark.timeout(600)
def test_text_finds_its_picture_among_2000(tmp_path: Path) -> None:
    place = Workplace(tmp_path, f"sqlite:///{tmp_path}/catalog.db")
    place.config["steps"] = {"meaning": {"plugin": "embed", "model": "drawings-clip"}}
    texts: dict[str, str] = {}
    seed = HELD_OUT_SEED + 500_000
    while len(texts) < 2000:
        image, scene = draw_scene(random.Random(seed), 128)
        text = caption(scene, "en", "long")
        if text not in texts.values():
            texts[f"{seed}.png"] = text
            image.save(place.inbox / f"{seed}.png")
        seed += 1
    place.run()
    rows = place.rows(
        "SELECT files.path, vector FROM embeddings JOIN files USING (asset_id) ORDER BY files.path"
    )
    assert len(rows) == 2000
    pictures = np.stack([np.frombuffer(row["vector"], "<f4") for row in rows])
    words = np.stack(embedded([texts[Path(row["path"]).name] for row in rows]))
    scores = words @ pictures.T
    rank = (scores > scores.diagonal()[:, None]).sum(axis=1)
    assert (rank < 1).mean() >= 0.7
    assert (rank < 5).mean() >= 0.9
    place.engine.dispose()


def embedded(texts: list[str]) -> list[np.ndarray]:
    from enrich import app, settings

    models = app.open_models(settings.Settings())
    try:
        return list(models.open("drawings-clip").embed(texts))
    finally:
        models.close()


def test_photographs_are_refused_and_drawings_are_not(tmp_path: Path, eval_data: Path) -> None:
    place = Workplace(tmp_path, f"sqlite:///{tmp_path}/catalog.db")
    place.config["steps"] = {
        "caption": {"plugin": "caption", "model": "drawings-vlm", "length": "short"},
        "meaning": {"plugin": "embed", "model": "drawings-clip"},
    }
    for number in range(200):
        draw_scene(random.Random(HELD_OUT_SEED + number), 160)[0].save(place.inbox / f"{number}.png")
    place.run(place.inbox, eval_data / "photos")
    refused = sa.text(
        "SELECT files.root LIKE '%photos%' AS is_photo, "
        "avg(coalesce(jobs.reason, '') = 'outside_domain') AS share, count(*) AS n "
        "FROM jobs JOIN files USING (asset_id) WHERE jobs.state IN ('done', 'skipped') "
        "AND coalesce(jobs.reason, '') <> 'unreadable' GROUP BY 1 ORDER BY 1"
    )
    with place.engine.connect() as connection:
        drawings, photographs = connection.execute(refused).all()
    assert drawings.n == 400
    assert photographs.n > 200
    assert drawings.share <= 0.01
    assert photographs.share >= 0.99
    place.engine.dispose()
