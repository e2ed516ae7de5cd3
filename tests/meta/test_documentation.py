"""The reference pages say what the code says, no more and no less."""

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pydantic
import pytest

from enrich import hookspecs
from enrich.cli import cli
from enrich.cli.setup import setup_options
from enrich.hub.agreement import THRESHOLDS
from enrich.hub.entry import Listed
from enrich.hub.listed import LISTED
from enrich.inference.families import FAMILIES
from enrich.sections import Api, Cuda, OpenVino, Providers, RateLimit, TensorRt, Webhook
from enrich.settings import Metrics, Root, Settings, Step

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

HOOKS = [name for name in vars(hookspecs) if name.startswith("enrich_")]


def sections(page: str, level: int) -> dict[str, str]:
    """A page's sections of one level by their heading; one ends where the next of any level begins."""
    parts = re.split(r"^(#+) (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    marks, headings, texts = parts[1::3], parts[2::3], parts[3::3]
    named = [heading for mark, heading in zip(marks, headings, strict=True) if len(mark) == level]
    assert len(named) == len(set(named)), f"{page}: a heading stands twice"
    return {
        heading: text
        for mark, heading, text in zip(marks, headings, texts, strict=True)
        if len(mark) == level
    }


def table(text: str) -> list[list[str]]:
    """The rows of a section's only table, without its head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]
    ]


# Configuration


def default(name: str, field: pydantic.fields.FieldInfo) -> str:
    if field.is_required():
        return "required"
    if name == "threads":
        return "all cores"
    value = field.get_default(call_default_factory=True, validated_data={})
    value = str(value) if isinstance(value, Path) else value
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Top level", Settings),
        ("`metrics`", Metrics),
        ("`providers`", Providers),
        ("`providers.cuda`", Cuda),
        ("`providers.openvino`", OpenVino),
        ("`providers.tensorrt`", TensorRt),
        ("`api`", Api),
        ("`api.rate_limit`", RateLimit),
        ("`roots`", Root),
        ("`steps`", Step),
        ("`webhooks`", Webhook),
    ],
)
def test_every_setting_is_documented_with_its_default(heading: str, model: type[pydantic.BaseModel]) -> None:
    expected = [
        [f"`{name}`", default(name, field), field.description] for name, field in model.model_fields.items()
    ]
    assert table(sections("configuration.md", 2)[heading]) == expected


def test_every_variable_that_is_no_setting_is_documented() -> None:
    code = "".join(path.read_text() for path in (ROOT / "enrich").rglob("*.py"))
    read = set(re.findall(r'environ(?:\.get\(|\[)"(ENRICH_\w+)"', code))
    page = (DOCS / "configuration.md").read_text()
    assert read
    assert {name for name in read if f"`{name}" not in page} == set()


# Command line


def commands(group: click.Group, path: tuple[str, ...] = ("enrich",)) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            metavars = [
                parameter.make_metavar(click.Context(command))
                for parameter in command.params
                if isinstance(parameter, click.Argument)
            ]
            yield f"`{' '.join((*path, name, *metavars))}`", command


COMMANDS = dict(commands(cli))


def options(command: click.Command) -> list[list[Any]]:
    rows = []
    for option in command.params:
        if isinstance(option, click.Option):
            metavar = (
                "" if option.is_flag or option.count else f" {option.make_metavar(click.Context(command))}"
            )
            rows.append([f"`{', '.join(option.opts)}{metavar}`", option.help])
    return rows


COMMON = options(click.command("common")(setup_options(lambda: None)))


def own_options(command: click.Command) -> list[list[Any]]:
    return [row for row in options(command) if row not in COMMON]


def test_every_command_is_documented_and_no_other() -> None:
    documented = [heading for heading in sections("cli.md", 2) if heading.startswith("`enrich ")]
    assert documented == list(COMMANDS)


@pytest.mark.parametrize("heading", COMMANDS)
def test_a_commands_page_says_what_its_help_says(heading: str) -> None:
    text, command = sections("cli.md", 2)[heading], COMMANDS[heading]
    assert " ".join((command.help or "").split()) in " ".join(text.split())
    documented = table(text)
    assert [row[0] for row in documented] == [row[0] for row in own_options(command)]
    for (_, said), (_, help_text) in zip(documented, own_options(command), strict=True):
        assert said
        assert help_text in (None, said)


def test_the_common_options_are_documented_and_common() -> None:
    assert table(sections("cli.md", 2)["Common options"]) == COMMON
    without = {heading.split()[1].rstrip("`") for heading, command in COMMANDS.items() if not set_up(command)}
    assert without == {"init", "demo"}  # they read no configuration


def set_up(command: click.Command) -> bool:
    rows = options(command)
    return all(row in rows for row in COMMON)


def test_the_short_help_of_a_command_is_the_beginning_of_a_sentence() -> None:
    assert all(line.endswith(".") for _, line in _listed())


def _listed() -> list[tuple[str, str]]:
    from enrich.cli import _COMMANDS

    return [(name, line) for name, (_, line) in _COMMANDS.items()]


# Hooks


def test_every_hook_is_documented_with_its_arguments() -> None:
    expected = [
        f"`{hook}({', '.join(inspect.signature(getattr(hookspecs, hook)).parameters)})`" for hook in HOOKS
    ]
    assert list(sections("hooks.md", 3)) == expected


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hooks_page_begins_as_its_docstring(hook: str) -> None:
    (text,) = (text for heading, text in sections("hooks.md", 3).items() if heading.startswith(f"`{hook}("))
    summary = inspect.getdoc(getattr(hookspecs, hook))
    assert summary
    assert text.strip().startswith(summary.splitlines()[0])


def test_the_attributes_of_a_plugin_are_documented_in_both_places() -> None:
    rows = {name.strip("`"): said for name, said in table(sections("hooks.md", 2)["Attributes"])}
    manual = hookspecs.__doc__ or ""
    entries = dict(re.findall(r"^``(\w+)``\n((?:    .+\n)+)", manual, flags=re.MULTILINE))
    said = {name: " ".join(text.split()).replace("``", "`") for name, text in entries.items()}
    assert rows == said


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_named_by_a_test(hook: str) -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any(re.search(rf"\b{hook}\b", path.read_text()) for path in tests)


# The first screen


def test_the_readmes_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s])", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named
    assert named <= targets


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


# The models known by name


def size(parameters: int) -> str:
    if parameters >= 1_000_000_000:
        return f"{parameters / 1e9:.1f} B"
    return f"{parameters / 1e6:.{0 if parameters >= 1_000_000 else 1}f} M"


def way(one: Listed) -> str:
    if one.files:
        return "pull, from GitHub"
    if one.onnx is None:
        return "export"
    return "pull" if one.onnx == one.repository else f"pull, from `{one.onnx}`"


def test_every_listed_model_is_documented_as_it_is_listed() -> None:
    expected = [
        [
            f"`{one.name}`",
            f"`{one.repository}`",
            one.family,
            ", ".join(hook.removeprefix("enrich_") for hook in one.hooks),
            one.licence,
            size(one.parameters),
            ", ".join(one.variants),
            way(one),
            ", ".join(f"`{alias}`" for alias in one.aliases),
        ]
        for one in LISTED.values()
    ]
    assert table(sections("models.md", 2)["The models known by name"]) == expected


def test_every_family_is_documented_with_its_architectures() -> None:
    rows = table(sections("models.md", 2)["Families"])
    # A family of several lines is named in the first.
    named = [re.findall(r"`([\w-]+)`", row[0]) for row in rows]
    assert [name for names in named for name in names] == list(FAMILIES)
    said = " ".join(row[1] for row in rows)
    for family in FAMILIES.values():
        for architecture in family.architectures:
            assert architecture.removesuffix("ForConditionalGeneration") in said


def test_every_family_has_its_threshold_of_agreement_documented() -> None:
    said = {
        name: (figure, float(least.split()[0]))
        for families, what, least in table(sections("models.md", 3)["Quantise"])
        for name in re.findall(r"`([\w-]+)`", families)
        for figure in re.findall(r"\(`(\w+)`\)", what)
    }
    assert said == THRESHOLDS


# The bundled plugins

PLUGINS = {
    path.stem: importlib.import_module(f"enrich.plugins.{path.stem}")
    for path in sorted((ROOT / "plugins").glob("[a-z]*.py"))
}


@pytest.mark.parametrize("name", PLUGINS)
def test_every_option_of_a_bundled_plugin_is_documented_with_its_default(name: str) -> None:
    fields = PLUGINS[name].Options.model_fields if hasattr(PLUGINS[name], "Options") else {}
    expected = [
        [f"`{key}`", "required" if field.is_required() else f"`{json.dumps(field.default)}`"]
        for key, field in fields.items()
    ]
    tables = re.findall(
        r"^\| option \|.*\n\|.*\n((?:\|.*\n)+)", sections("plugins.md", 2)[name], flags=re.MULTILINE
    )
    rows = [row for found in tables for row in found.splitlines()]
    assert [[cell.strip() for cell in row.split("|")[1:3]] for row in rows] == expected


def test_every_bundled_plugin_is_listed_with_its_hooks_size_and_revision() -> None:
    intro = (DOCS / "plugins.md").read_text().partition("\n## ")[0]
    rows = {row[0]: row for row in table(intro)}
    assert list(rows) == [f"[{name}](#{name})" for name in PLUGINS]
    for name, plugin in PLUGINS.items():
        _, hooks, _, _, size_px, revision = rows[f"[{name}](#{name})"]
        assert re.findall(r"`(\w+)`", hooks) == [hook for hook in HOOKS if is_work(plugin, hook)]
        assert size_px == (f"{plugin.size_px} px" if hasattr(plugin, "size_px") else "")
        assert revision.split()[0] == getattr(plugin, "revision", "1").split()[0]


def is_work(plugin: ModuleType, hook: str) -> bool:
    """Whether a plugin has a hook for what it is there for, and not to clean up after itself."""
    return hasattr(plugin, hook) and hook not in ("enrich_startup", "enrich_shutdown")
