"""The package keeps its own rules: what it exports, what it costs to import, and its error tree."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import alembic.script
import enrich.migrations
import pytest

from enrich import errors
from enrich.catalog import schema

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*(ROOT / "enrich").rglob("*.py"), *(ROOT / "plugins").glob("*.py")])

#: What is dear to import, or has its one home.
HEAVY = {
    "PIL",
    "alembic",
    "numpy",
    "onnxruntime",
    "pluggy",
    "prometheus_client",
    "pydantic",
    "rich",
    "sqlalchemy",
    "watchdog",
    "yaml",
}


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__all__" for target in node.targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def bound(nodes: list[ast.stmt]) -> set[str]:
    """The names that a module's statements bind, those under an ``if`` too."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(
                name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            )
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.If):
            names |= bound(node.body) | bound(node.orelse)
    return names


def public(tree: ast.Module) -> set[str]:
    """The functions and classes that a module defines for others; hook specifications are no exports."""
    return {
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not any(ast.unparse(decorator).startswith("hookspec") for decorator in node.decorator_list)
    }


def order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest, each by name: the order that ruff keeps."""
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_module_exports_is_sorted_and_there(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = exported(tree)
    if names is None:
        return
    assert names == sorted(set(names), key=order)
    assert set(names) - bound(tree.body) == set()
    assert public(tree) - set(names) == set(), "public, and not in __all__"


def loaded_by(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import enrich, enrich.types, enrich.errors", set()),
        ("import enrich; enrich.hookimpl, enrich.each", {"pluggy"}),
        ("import enrich.cli; enrich.cli.cli.main(['--help'], standalone_mode=False)", set()),
    ],
)
def test_what_is_imported_often_is_light(statement: str, allowed: set[str]) -> None:
    assert loaded_by(statement) == allowed


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = enrich.nonsense


def test_every_public_name_is_there() -> None:
    assert all(getattr(enrich, name) is not None for name in enrich.__all__)


# Errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.EnrichError)
}


def drawn() -> dict[str, tuple[str | None, str]]:
    """The tree as drawn: each class with its parent and its remarks."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([ │├└─]*)(\w+)(?:  +(.*))?$", line)
        if match is None:
            continue
        depth, name, remarks = len(match[1]), match[2], match[3] or ""
        above = [item for item in above if item[0] < depth]
        tree[name] = (above[-1][1] if above else None, remarks)
        above.append((depth, name))
    return tree


def test_the_drawn_tree_is_the_tree_of_errors() -> None:
    expected: dict[str, Any] = {
        name: None if value is errors.EnrichError else value.__bases__[0].__name__
        for name, value in CLASSES.items()
    }
    assert {name: parent for name, (parent, _) in drawn().items()} == expected
    assert set(errors.__all__) == set(CLASSES)


def test_the_drawing_says_what_may_be_tried_again_and_the_exit_codes() -> None:
    for name, (_, remarks) in drawn().items():
        assert CLASSES[name].retryable == ("retryable" in remarks), name
        if code := re.search(r"exit (\d)", remarks):
            assert CLASSES[name].exit_code == int(code[1]), name


def test_no_two_errors_are_of_one_kind() -> None:
    kinds = [value.kind for value in CLASSES.values()]
    assert len(set(kinds)) == len(kinds)


# Schema


def test_the_schemas_head_is_the_migrations_head() -> None:
    (folder,) = enrich.migrations.__path__
    assert alembic.script.ScriptDirectory(folder).get_current_head() == schema.HEAD


#: A Python whose environments have pip once they are whole; it says what it was asked.
STUB = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
    "-m pip --version") test -e "{folder}/.venv/whole" ;;
    "-m venv .venv") touch "{folder}/.venv/whole" ;;
esac
"""


def test_an_environment_whose_making_was_interrupted_is_made_again(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python, log = tmp_path / ".venv/bin/python", tmp_path / "said.log"
    python.parent.mkdir(parents=True)
    python.write_text(STUB.format(log=log, folder=tmp_path))
    python.chmod(0o755)
    made = subprocess.run(
        ["make", ".venv/.run", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    *_, asked, mended, installed = log.read_text().splitlines()
    assert (asked, mended) == ("-m pip --version", "-m venv .venv")
    assert installed.startswith("-m pip install")
