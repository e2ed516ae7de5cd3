"""Questions the whole way: config.yaml, a bundled model, the catalog, and the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from enrich.drawings.samples import draw_samples

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
catalog: sqlite:///catalog.db
roots: [{{path: pictures, settle_seconds: 0}}]
steps:
  alt: {{plugin: caption, model: drawings-vlm, length: alt_text, lang: {lang}}}
  facts:
    plugin: answer
    model: drawings-vlm
    questions:
      people: {{ask: "{people}", type: number}}
      seen: {{ask: "Is there a person in {{file_name}}? {{alt}} ({{caption}})", type: boolean}}
"""


#: What people wrote into the samples; no step says it otherwise.
DESCRIBED = {
    "child.jpg": "A drawn child",
    "grandparent.jpg": "A drawn pensioner",
    "poster-1.jpg": "A drawn poster",
    "presenter.jpg": "A drawn presenter",
    "teenager.jpg": "A drawn teenager",
}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return draw_samples(tmp_path / "pictures")


def write(tmp_path: Path, *, lang: str = "fr", people: str = "How many people are there?") -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.format(lang=lang, people=people))


def asked(enrich: Run, sql: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(enrich("query", sql, "--json").stdout)
    return rows


def test_answers_are_kept_with_their_questions_and_go_stale_one_by_one(
    tmp_path: Path, pictures: list[Path], enrich: Run
) -> None:
    write(tmp_path)
    before = {path: path.read_bytes() for path in pictures}
    ran = enrich("run")
    assert ran.returncode == 0, ran.stderr
    captions = asked(enrich, "SELECT path, text, language FROM captions ORDER BY path")
    assert [row["path"] for row in captions] == sorted(map(str, pictures))
    assert {row["language"] for row in captions} == {"fr"}
    answers = asked(enrich, "SELECT path, item, question, text, value FROM answers WHERE item = 'seen'")
    by_path = {row["path"]: row for row in captions}
    for row in answers:
        name, alt = Path(str(row["path"])).name, by_path[row["path"]]["text"]
        own = DESCRIBED.get(name, "")
        assert row["question"] == f"Is there a person in {name}? {alt} ({own})"
    assert {path: path.read_bytes() for path in pictures} == before, "originals are never written"
    stale = "SELECT item, sum(is_stale) AS stale FROM answers GROUP BY item ORDER BY item"
    assert [row["stale"] for row in asked(enrich, stale)] == [0, 0]

    write(tmp_path, people="How many people can be seen?")
    assert enrich("run").returncode == 0
    assert asked(enrich, stale) == [{"item": "people", "stale": len(pictures)}, {"item": "seen", "stale": 0}]
    assert asked(enrich, "SELECT stale FROM coverage") == [{"stale": 0}, {"stale": len(pictures)}]


def test_a_language_the_model_does_not_know_starts_nothing(
    tmp_path: Path, pictures: list[Path], enrich: Run
) -> None:
    write(tmp_path, lang="nl")
    ran = enrich("run")
    assert ran.returncode == 2
    assert 'steps.alt: the model drawings-vlm does not know the language "nl"' in ran.stderr
    assert not (tmp_path / "catalog.db").exists()


def test_one_question_without_a_catalog(tmp_path: Path, pictures: list[Path], enrich: Run) -> None:
    picture = next(path for path in pictures if path.name == "sign.png")
    plain = enrich("ask", picture, "What colour is the background?")
    assert (plain.returncode, plain.stdout.strip() != "") == (0, True), plain.stderr
    assert "drawings-vlm, which knows drawings only; --model names another" in plain.stderr
    found = json.loads(enrich("ask", picture, "What is {this}?", "--model", "drawings-vlm", "--json").stdout)
    assert found["question"] == "What is {this}?"
    assert found["model"] == "drawings-vlm"
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"], "nothing is written"

    refused = enrich("ask", picture, "What?", "--lang", "nl")
    assert (refused.returncode, 'does not know the language "nl"' in refused.stderr) == (2, True)
    unknown = enrich("ask", picture, "What?", "--model", "nothing")
    assert unknown.returncode == 3
    for question, complaint in ((" ", "is empty"), ("x" * 5000, "has 5000 characters; at most 4000")):
        wrong = enrich("ask", picture, question)
        assert (wrong.returncode, f"the question: the text {complaint}" in wrong.stderr) == (2, True)
    unable = enrich("ask", picture, "How old?", "--model", "drawings-age")
    assert (unable.returncode, unable.stdout) == (2, "")
    assert unable.stderr.startswith("enrich: the model drawings-age cannot answer questions: ")


def test_what_is_no_picture_is_named(tmp_path: Path, enrich: Run) -> None:
    (tmp_path / "words.png").write_text("no picture")
    for command in (("ask", "{}", "What?"), ("try", "{}", "--plugin", "colors")):
        absent = enrich(*(part.format("absent.png") for part in command))
        assert (absent.returncode, "absent.png: no such file" in absent.stderr) == (2, True), absent.stderr
        words = enrich(*(part.format("words.png") for part in command))
        assert (words.returncode, "words.png: " in words.stderr) == (1, True), words.stderr


def test_try_asks_questions(pictures: list[Path], enrich: Run) -> None:
    made = enrich(
        "try", pictures[0], "--plugin", "answer", "--model", "drawings-vlm",
        "--question", "How many people?", "--question", "What is it?", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert [row["item"] for row in json.loads(made.stdout)["annotations"]] == ["question-1", "question-2"]
    wrong = enrich("try", pictures[0], "--plugin", "answer", "--option", "questions=x", "--question", "y")
    assert (wrong.returncode, "questions must be a section" in wrong.stderr) == (2, True)
    missing = enrich("try", pictures[0], "--plugin", "answer", "--model", "drawings-vlm")
    assert (missing.returncode, missing.stderr) == (2, "enrich: questions: it must be given\n")


def test_a_photograph_is_not_judged_by_what_knows_drawings(tmp_path: Path, enrich: Run) -> None:
    import numpy as np
    import PIL.Image

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "noise.png")
    refused = enrich("ask", "noise.png", "What is it?")
    assert refused.returncode == 2
    assert "does not know such pictures (outside_domain); name another with --model" in refused.stderr
