"""The pages for people name what is there: modules, dependencies, commands, headings, snippets that load."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from enrich.cli import cli
from enrich.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def first_cells(page: str, heading: str) -> list[str]:
    """The first column of the table below a heading."""
    text = (DOCS / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("|")][2:]


def test_every_module_has_its_line_and_no_other() -> None:
    named = {name for cell in first_cells("architecture.md", "Who does what") for name in cell.split(", ")}
    named = {name.strip("`") for name in named}
    folder = ROOT / "enrich"
    modules = {path.stem for path in folder.iterdir() if re.fullmatch(r"[a-z]\w*(\.py)?", path.name)}
    assert {name for name in named if "." not in name} == modules
    parts = [name.split(".") for name in named if "." in name]
    assert [part for part in parts if not folder.joinpath(*part).with_suffix(".py").is_file()] == []


def test_every_dependency_has_its_line_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {*project["dependencies"], *(one for name in extras if name != "dev" for one in extras[name])}
    names = {re.split(r"[\[<>=]", one)[0] for one in wanted}
    # The runtime's three builds are one line; the exporters' environments are no extra.
    names -= {"onnxruntime-gpu", "onnxruntime-openvino"}
    cells = first_cells("design.md", "Dependencies")
    listed = {
        name
        for cell in cells
        if "(`dev`)" not in cell and "environments" not in cell
        for name in re.sub(r" \(.*\)", "", cell).split(", ")
    }
    assert listed == names
    (tools,) = (cell for cell in cells if "(`dev`)" in cell)
    named = {name for name in tools.removesuffix(" (`dev`)").split(", ") if name != "types-*"}
    brought = {re.split(r"[<>=]", one)[0] for one in extras["dev"]}
    assert named == {name for name in brought if not name.startswith("types-")}


def anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower()))
    return words.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for target, wanted in re.findall(r"\]\(([^)#:\s]*)#([^)]*)\)", page.read_text()):
        other = page.parent / target if target else page
        headings = re.findall(r"^#+ (.+)$", other.read_text(), flags=re.MULTILINE)
        assert wanted in map(anchor, headings), f"{target}#{wanted}"


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


KNOWN = set(commands(cli))
GROUPS = {path[0] for path in KNOWN if len(path) == 2}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "config.yaml"], ids=lambda page: page.name)
def test_the_commands_that_are_named_are_there(page: Path) -> None:
    said = re.findall(
        r"(?:`|^ {4}|&& |\$ |bin/)enrich ([a-z]+)(?: ([a-z]+))?", page.read_text(), re.MULTILINE
    )
    named = {(first, second) if first in GROUPS and second else (first,) for first, second in said}
    assert named <= KNOWN


def snippets() -> Iterator[tuple[str, object]]:
    """What pages show of config.yaml: indented or fenced, and beginning with a key of it."""
    keys = "|".join(Settings.model_fields)
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, flags=re.MULTILINE)
        blocks += re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        for block in blocks:
            if re.match(rf"\s*({keys}):(\s|$)", block):
                yield page.name, yaml.safe_load(block)


SNIPPETS = list(snippets())


@pytest.mark.parametrize(
    ("page", "shown"), SNIPPETS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(SNIPPETS)]
)
def test_what_is_shown_of_the_configuration_is_valid(page: str, shown: dict[str, object]) -> None:
    Settings.model_validate(shown)
    assert len(SNIPPETS) > 10
