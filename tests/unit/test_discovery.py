"""Where plugins come from, and which folders of loose files are refused."""

import sys
from pathlib import Path

import pytest

from enrich.errors import ConfigError
from enrich.host import discovery

PLUGIN = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_tag(rendition):
    return [enrich.Tag("x")]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    return folder


def names(*folders: Path, roots: tuple[Path, ...] = ()) -> list[str]:
    return [candidate.name for candidate in discovery.loose(folders, roots)]


def test_the_bundled_plugins_come_first_and_are_ours() -> None:
    found = list(discovery.installed())
    bundled = [candidate for candidate in found if candidate.is_bundled]
    assert found[: len(bundled)] == bundled
    assert {"age", "tags"} <= {candidate.name for candidate in bundled}
    assert [candidate.name for candidate in bundled] == sorted(candidate.name for candidate in bundled)
    assert all(candidate.distribution == "enrich-dam" and candidate.version for candidate in bundled)
    assert all(candidate.is_bundled for candidate in discovery.installed(bundled_only=True))


def test_loose_files_are_named_by_their_stem_and_a_leading_underscore_hides_them(folder: Path) -> None:
    for name in ("light.py", "a.py", "_shared.py", "notes.txt", "light.pyc"):
        (folder / name).write_text(PLUGIN)
    assert names(folder) == ["a", "light"]


def test_nothing_is_imported_before_it_is_loaded(folder: Path) -> None:
    (folder / "bomb.py").write_text("raise SystemExit('imported')")
    (candidate,) = discovery.loose([folder])
    assert (candidate.name, candidate.origin) == ("bomb", str(folder / "bomb.py"))
    with pytest.raises(SystemExit, match="imported"):
        candidate.load()
    assert "enrich_loose_bomb" not in sys.modules


def test_a_loaded_file_can_be_looked_up_as_a_module(folder: Path) -> None:
    # dataclasses and pydantic resolve annotations that are text through sys.modules.
    (folder / "dated.py").write_text(
        "from __future__ import annotations\nimport dataclasses, typing\n"
        "@dataclasses.dataclass\nclass Word:\n    text: str\n    language: typing.ClassVar[str] = 'en'\n"
    )
    (candidate,) = discovery.loose([folder])
    assert candidate.load().Word("a").text == "a"


@pytest.mark.parametrize("name", ["with space", "with-dash", "夏", "1st"])
def test_a_file_name_need_be_no_identifier(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(PLUGIN)
    (candidate,) = discovery.loose([folder])
    assert hasattr(candidate.load(), "enrich_tag")


@pytest.mark.parametrize("inside", [".", "deep/er", "link"])
def test_a_folder_inside_a_root_is_refused(tmp_path: Path, folder: Path, inside: str) -> None:
    root = tmp_path / "inbox"
    (root / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root / "deep")
    plugins = tmp_path / "link" if inside == "link" else root / inside
    with pytest.raises(ConfigError, match=r"^plugin_dirs: .* lies inside the root .*; keep code apart"):
        names(folder, plugins, roots=(tmp_path / "elsewhere", root))


def test_a_folder_inside_a_root_is_found_through_the_roots_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "inbox").symlink_to(folder)
    with pytest.raises(ConfigError, match="lies inside the root"):
        names(folder, roots=(tmp_path / "inbox",))


def test_a_root_inside_a_plugin_folder_is_no_harm(folder: Path) -> None:
    (folder / "inbox").mkdir()
    assert names(folder, roots=(folder / "inbox",)) == []


@pytest.mark.parametrize("mode", [0o757, 0o1777])
def test_a_folder_that_others_may_write_is_refused_with_the_command_that_mends_it(
    folder: Path, mode: int
) -> None:
    folder.chmod(mode)
    with pytest.raises(
        ConfigError, match=f"^plugin_dirs: others may write {folder}; say: chmod o-w '{folder}'$"
    ):
        names(folder)


def test_a_file_that_others_may_write_is_refused(folder: Path) -> None:
    (folder / "light.py").write_text(PLUGIN)
    (folder / "light.py").chmod(0o666)
    with pytest.raises(ConfigError, match=r"others may write .*light\.py"):
        names(folder)


@pytest.mark.parametrize("made", ["nothing", "file"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, made: str) -> None:
    path = tmp_path / "there"
    if made == "file":
        path.write_text("")
    with pytest.raises(ConfigError, match=f"^plugin_dirs: {path} is not a folder; create it or remove it"):
        names(path)
