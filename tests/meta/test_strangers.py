"""Strangers' plugins through the command line: good ones work, bad ones harm nobody."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

Enrich = Callable[..., subprocess.CompletedProcess[str]]

LIGHT = """
    import enrich

    @enrich.hookimpl
    @enrich.each
    def enrich_tag(rendition):
        mean = rendition.pixels.mean() / 255
        return [enrich.Tag("bright" if mean > 0.5 else "dark")]
"""

RAISES = """
    import enrich

    @enrich.hookimpl
    def enrich_caption(renditions):
        raise ValueError("the moon is in the wrong phase")
"""

TOO_SHORT = """
    import enrich

    @enrich.hookimpl
    def enrich_data(renditions):
        return [{} for _ in renditions][1:]
"""

NOT_IMPORTABLE = """
    import no_such_package_anywhere
"""

MISSPELT = """
    import enrich

    @enrich.hookimpl
    def enrich_captions(renditions):
        return [None for _ in renditions]
"""

OBSERVER = """
    import enrich

    @enrich.hookimpl
    def enrich_annotated(asset_id, step):
        raise ValueError("an observer that fails")
"""

DECODER = """
    import enrich

    @enrich.hookimpl
    def enrich_open(path, media_type):
        raise ValueError("a decoder that fails")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures in an inbox, and a folder for plugins."""
    (tmp_path / "inbox").mkdir()
    PIL.Image.new("RGB", (40, 20), "white").save(tmp_path / "inbox" / "day.png")
    PIL.Image.new("RGB", (20, 40), "black").save(tmp_path / "inbox" / "night.png")
    (tmp_path / "mine").mkdir(mode=0o755)
    return tmp_path


def write_plugins(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        (folder / "mine" / f"{name}.py").write_text(textwrap.dedent(source))


def write_config(folder: Path, steps: Mapping[str, Any]) -> None:
    config = {
        "catalog": "sqlite:///catalog.db",
        "plugin_dirs": ["mine"],
        "roots": [{"path": "inbox", "settle_seconds": 0}],
        "steps": steps,
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "catalog.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


TAGS = "SELECT replace(path, rtrim(path, replace(path, '/', '')), ''), tag FROM asset_tags ORDER BY path"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package beside this file is installed, without any index."""
    source = tmp_path_factory.mktemp("source") / "dist"
    shutil.copytree(Path(__file__).with_name("plugin_dist"), source)
    target = tmp_path_factory.mktemp("installed")
    flags = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, "--target", target, source], check=True)
    return target


def test_a_loose_file_and_an_installed_package_become_rows(
    folder: Path, enrich: Enrich, installed: Path
) -> None:
    write_plugins(folder, light=LIGHT)
    write_config(folder, {"light": {"plugin": "light"}, "shape": {"plugin": "shape", "tolerance": 0.1}})
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = enrich("run", "--json", env={**environment, "ENRICH_TRACE": "1"}, is_forked=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["jobs"] == {"done": 4}
    for call in (
        "enrich_tag(renditions=[Rendition(",
        "enrich_tag returned [[[Tag(",
        "enrich_data returned [[{",
    ):
        assert f"trace: {call}" in done.stderr

    assert rows(folder, TAGS) == [("day.png", "bright"), ("night.png", "dark")]
    found = rows(
        folder,
        "SELECT a.data, g.hook, g.plugin, g.plugin_revision, g.options FROM annotations a "
        "JOIN generators g ON g.id = a.generator_id WHERE a.step = 'shape' ORDER BY a.data",
    )
    assert [json.loads(row[0])["shape"] for row in found] == ["landscape", "portrait"]
    assert {row[1:4] for row in found} == {("enrich_data", "shape", "2")}
    assert json.loads(found[0][4]) == {"tolerance": 0.1}

    listed = json.loads(enrich("plugins", "list", "--json", env=environment, is_forked=False).stdout)
    by_name = {plugin["name"]: plugin for plugin in listed["plugins"]}
    shape, light = by_name["shape"], by_name["light"]
    assert (shape["distribution"], shape["version"]) == ("acme-enrich-shape", "1.2.3")
    assert (light["distribution"], light["origin"]) == (None, str(folder / "mine" / "light.py"))


def test_harmful_plugins_harm_nobody_and_each_says_what_to_mend(folder: Path, enrich: Enrich) -> None:
    write_plugins(
        folder, light=LIGHT, raises=RAISES, short=TOO_SHORT, missing=NOT_IMPORTABLE, typo=MISSPELT,
        observer=OBSERVER, decoder=DECODER,
    )  # fmt: skip
    write_config(folder, {name: {"plugin": name} for name in ("raises", "light", "short")})
    (folder / "inbox" / "notes.txt").write_text("of a type that only the failing decoder is asked for")
    done = enrich("run", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["jobs"] == {"done": 2, "failed": 4}
    assert report["files"]["present"] == 2

    assert rows(folder, TAGS) == [("day.png", "bright"), ("night.png", "dark")]
    failures = set(rows(folder, "SELECT step, error_kind, error FROM failures WHERE step IS NOT NULL"))
    assert failures == {
        (
            "raises",
            "plugin_failed",
            "plugin raises raised ValueError: the moon is in the wrong phase (raises.py, line 6)",
        ),
        (
            "short",
            "plugin_contract",
            "plugin short returned 0 results for 1 renditions; enrich_data must return one each, in order",
        ),
    }

    listed = enrich("plugins", "list")
    assert listed.returncode == 0
    assert "light" in listed.stdout
    lines = {
        line.split()[3]: line for line in listed.stdout.splitlines() if line.startswith("did not load: ")
    }
    assert lines["missing"].endswith(
        "ModuleNotFoundError: No module named 'no_such_package_anywhere' (missing.py, line 2)"
    )
    assert lines["typo"].endswith("there is no hook enrich_captions; did you mean enrich_caption?")
    assert str(folder / "mine" / "typo.py") in lines["typo"]


def test_a_step_of_a_plugin_that_did_not_load_ends_with_one_line(folder: Path, enrich: Enrich) -> None:
    write_plugins(folder, typo=MISSPELT)
    write_config(folder, {"step": {"plugin": "typo"}})
    done = enrich("run")
    assert done.returncode == 3
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("enrich: "))
    where = folder / "mine" / "typo.py"
    assert said.startswith(f"enrich: steps.step.plugin: typo ({where}) did not load: there is no hook")
    assert "Traceback" not in done.stderr


def test_in_safe_mode_no_strangers_code_is_run(folder: Path, enrich: Enrich) -> None:
    write_plugins(folder, bomb="import pathlib\npathlib.Path('ran').touch()\n")
    write_config(folder, {})
    listed = json.loads(enrich("plugins", "list", "--json", "--no-plugins").stdout)
    assert {plugin["distribution"] for plugin in listed["plugins"]} == {"enrich-dam"}
    assert not (folder / "ran").exists()


def test_a_plugin_folder_inside_a_root_is_refused_before_anything_is_run(
    folder: Path, enrich: Enrich
) -> None:
    write_plugins(folder, bomb="import pathlib\npathlib.Path('ran').touch()\n")
    (folder / "config.yaml").write_text(
        "plugin_dirs: [mine]\nroots: [{path: .}]\nsteps: {a: {plugin: bomb}}\n"
    )
    done = enrich("run")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("enrich: plugin_dirs: ")
    assert not (folder / "ran").exists()
    assert not (folder / "catalog.db").exists()
