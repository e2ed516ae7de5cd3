"""The whole way with real models on real pictures: `enrich run`, then SQL."""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from enrich.drawings.faces import AGE_GROUPS, draw_face

Run = Callable[..., CompletedProcess[str]]

#: Seeds from here on were never trained on; training/README says so.
HELD_OUT = 1_000_000

SQUEEZENET = """
models_dir: models
steps: {tags: {plugin: tags, model: squeezenet, threshold: 0.1, limit: 5}}
"""


def sql(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "catalog.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def truth(data: Path, kind: str) -> dict[str, Any]:
    rows = map(json.loads, (data / "truth.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["path"]: row["expected"] for row in rows if row["kind"] == kind}


def test_drawn_faces_get_their_age_group(enrich: Run, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    kinds = (".png", ".jpg", ".webp")
    for number in range(200):
        group = AGE_GROUPS[number % len(AGE_GROUPS)]
        rng = random.Random(HELD_OUT + number)
        name = f"{number:03} {group}{kinds[number % 3]}"
        draw_face(rng, group, rng.choice((96, 200, 480, 900))).save(inbox / name)
    (tmp_path / "config.yaml").write_text(
        "roots: [{path: inbox}]\nsteps: {age: {plugin: age, model: drawings-age}}\n"
    )
    ran = enrich("run")
    assert ran.returncode == 0, ran.stderr
    rows = sql(tmp_path, "SELECT path, age_group, persons FROM ages")
    assert len(rows) >= 198, "at most 1 % of drawings may be taken for something else"
    right = sum(Path(path).stem.split(" ")[1] == group for path, group, _ in rows)
    assert right / len(rows) >= 0.9


def test_photographs_get_no_age_from_a_model_of_drawings(
    enrich: Run, tmp_path: Path, eval_data: Path
) -> None:
    (tmp_path / "config.yaml").write_text("steps: {age: {plugin: age, model: drawings-age}}\n")
    ran = enrich("run", eval_data / "photos")
    assert ran.returncode == 0, ran.stderr
    states = dict(sql(tmp_path, "SELECT coalesce(reason, state), count(*) FROM jobs GROUP BY 1"))
    refused = states["outside_domain"]
    assert refused > 100
    assert refused / sum(states.values()) >= 0.99


def test_text_in_real_pictures_is_read(enrich: Run, tmp_path: Path, eval_data: Path) -> None:
    wanted = {path: words for path, words in truth(eval_data, "ocr_contains").items() if ".heic" not in path}
    assert len(wanted) > 5
    (tmp_path / "config.yaml").write_text("steps: {ocr: {plugin: ocr, pages: all}}\n")
    ran = enrich("run", *(eval_data / path for path in wanted))
    assert ran.returncode == 0, ran.stderr
    read = {
        Path(path).name: " ".join(text.split())
        for path, text in sql(tmp_path, "SELECT path, text FROM texts")
    }
    for path, words in wanted.items():
        for word in words:
            assert word.lower() in read[Path(path).name].lower(), path


def test_a_classifier_from_a_manifest_alone_tags_photographs(
    enrich: Run, tmp_path: Path, eval_data: Path
) -> None:
    manual = Path(__file__).resolve().parents[2] / "docs" / "models.md"
    manifest = manual.read_text(encoding="utf-8").split("```json")[1].split("```")[0]
    shutil.copytree(eval_data / "models" / "squeezenet_fp16", tmp_path / "models" / "squeezenet")
    (tmp_path / "models" / "squeezenet" / "manifest.json").write_text(manifest)
    (tmp_path / "config.yaml").write_text(SQUEEZENET)
    ran = enrich("run", eval_data / "photos" / "skimage", eval_data / "photos" / "coco_like")
    assert ran.returncode == 0, ran.stderr
    best = sql(
        tmp_path,
        "SELECT path, tag FROM asset_tags t WHERE confidence = "
        "(SELECT max(confidence) FROM asset_tags o WHERE o.asset_id = t.asset_id)",
    )
    tags = {Path(path).name: tag for path, tag in best}
    assert tags["chelsea.png"] in {"tabby", "tiger cat", "Egyptian cat"}
    assert tags["coffee.png"] in {"espresso", "cup"}
    provenance = sql(tmp_path, "SELECT DISTINCT plugin, model FROM generators")
    assert provenance == [("tags", "squeezenet")]


def test_orientation_is_as_the_camera_wrote_it(enrich: Run, tmp_path: Path, eval_data: Path) -> None:
    wanted = truth(eval_data, "orientation")
    (tmp_path / "config.yaml").write_text("steps: {colors: {plugin: colors}}\n")
    ran = enrich("run", *(eval_data / path for path in wanted))
    assert ran.returncode == 0, ran.stderr
    found = dict(
        sql(tmp_path, "SELECT f.path, a.orientation FROM files f JOIN assets a ON a.id = f.asset_id")
    )
    assert {path: found[str(eval_data / path)] or 0 for path in wanted} == wanted


@pytest.mark.parametrize(
    "command", [("doctor",), ("models", "verify"), ("models", "list"), ("plugins", "list")]
)
def test_what_looks_at_models_and_plugins_finds_the_bundled_ones(
    enrich: Run, command: tuple[str, ...]
) -> None:
    told = enrich(*command)
    assert told.returncode == 0, told.stdout + told.stderr
    assert ("drawings-age" if command[0] != "plugins" else "colors") in told.stdout
