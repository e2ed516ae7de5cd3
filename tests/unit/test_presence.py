"""A root that is there, and the ways in which one is not."""

import errno
import os
from pathlib import Path

import pytest

from enrich.presence import absence, device_of


def never() -> bool:
    raise AssertionError("asked without need: it costs a look at the catalog")


def no_examples() -> list[Path]:
    raise AssertionError("asked without need: it costs a look at the catalog")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "one.png").write_bytes(b"")
    return root


def test_a_folder_with_something_in_it_is_there(root: Path) -> None:
    device = device_of(root)
    assert device == os.stat(root).st_dev
    assert absence(root, was_filled=never) is None
    assert absence(root, was_filled=never, device=device, examples=no_examples) is None


@pytest.mark.parametrize("was_filled", [True, False])
def test_an_empty_folder_is_there_if_it_always_was_empty(tmp_path: Path, was_filled: bool) -> None:
    expected = "is empty, and was not" if was_filled else None
    assert absence(tmp_path, was_filled=lambda: was_filled, device=1, examples=no_examples) == expected


def test_no_folder_is_no_root(tmp_path: Path) -> None:
    assert absence(tmp_path / "gone", was_filled=never) == "is not there"
    assert device_of(tmp_path / "gone") is None
    (tmp_path / "file").write_bytes(b"")
    assert absence(tmp_path / "file", was_filled=never) == "is not there"
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert absence(tmp_path / "link", was_filled=never) == "is not there"


def test_a_link_to_a_folder_is_what_it_leads_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert absence(tmp_path / "link", was_filled=never, device=device_of(root)) is None


def test_another_device_is_another_root_unless_a_known_file_is_there(root: Path) -> None:
    device = os.stat(root).st_dev + 1
    gone, there = root / "gone.png", root / "one.png"
    assert absence(root, was_filled=never, device=device, examples=lambda: [gone, there]) is None
    assert absence(root, was_filled=never, device=device, examples=lambda: []) is None
    assert absence(root, was_filled=never, device=device, examples=lambda: [gone]) == (
        "is on another device than before, and holds none of its files"
    )
    dangling = root / "dangling.png"
    dangling.symlink_to(gone)
    assert absence(root, was_filled=never, device=device, examples=lambda: [dangling]) is None


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOENT, "is not there"),
        (errno.EIO, "does not answer (Input/output error)"),
        (errno.ENOTCONN, "does not answer (Transport endpoint is not connected)"),
        (errno.ESTALE, "does not answer (Stale file handle)"),
        (errno.EHOSTDOWN, "does not answer (Host is down)"),
        (errno.EACCES, None),
        (errno.ELOOP, None),
    ],
)
@pytest.mark.parametrize("where", ["stat", "scandir"])
def test_a_file_system_that_does_not_answer(
    root: Path, monkeypatch: pytest.MonkeyPatch, where: str, number: int, expected: str | None
) -> None:
    def fail(path: Path) -> object:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, where, fail)
    assert absence(root, was_filled=never) == expected
