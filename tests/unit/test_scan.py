"""A scan against what the catalog knows: what is new, changed or missing, and what is left alone."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from enrich.catalog.clean import escape_path, unescape_path
from enrich.catalog.files import Known, fingerprint
from enrich.scan import FOLDERS_A_QUERY, Candidate, Rules, Scan


class Catalog:
    """What a catalog would answer, kept in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Known]] = {}
        self.asked: list[int] = []

    def add(self, path: Path, state: str = "present") -> int:
        status = path.lstat()
        folder, name = escape_path(path.parent), escape_path(path)
        number = sum(map(len, self.rows.values())) + 1
        self.rows.setdefault(folder, {})[name] = Known(
            id=number,
            folder=folder,
            path=name,
            state=state,
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )
        return number

    def sums(self, folders: Sequence[str]) -> dict[str, tuple[int, int]]:
        self.asked.append(len(folders))
        there = {
            folder: [row for row in self.rows.get(folder, {}).values() if row.state != "missing"]
            for folder in folders
        }
        return {folder: (len(rows), sum(map(self._fingerprint, rows))) for folder, rows in there.items()}

    def known(self, folders: Sequence[str]) -> dict[str, dict[str, Known]]:
        return {folder: dict(self.rows.get(folder, {})) for folder in folders}

    @staticmethod
    def _fingerprint(row: Known) -> int:
        name = unescape_path(row.path).name
        return fingerprint(name, row.size_bytes, row.modified_ns, row.changed_ns)


class Found:
    """All of a scan's changes at once."""

    def __init__(self, top: Path, catalog: Catalog | None = None, rules: Rules | None = None) -> None:
        self.scan = Scan(top, [top], rules or Rules(), catalog or Catalog())
        changes = list(self.scan.changes())
        self.candidates: list[Candidate] = [item for change in changes for item in change.candidates]
        self.missing = sorted(number for change in changes for number in change.missing_ids)
        self.unchanged = sum(change.unchanged for change in changes)
        self.names = sorted(str(item.path.relative_to(top)) for item in self.candidates)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one.jpg", "a/two.jpg", "a/b/three.jpg"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


ALL = ["a/b/three.jpg", "a/two.jpg", "one.jpg"]


def test_everything_is_new_to_an_empty_catalog(top: Path) -> None:
    found = Found(top)
    assert found.names == ALL
    assert (found.missing, found.unchanged) == ([], 0)
    candidate = next(item for item in found.candidates if item.path.name == "two.jpg")
    assert candidate == Candidate(top, top / "a" / "two.jpg", (top / "a" / "two.jpg").lstat())
    assert found.scan.visited == {str(top), str(top / "a"), str(top / "a" / "b")}


def test_nothing_is_new_where_all_is_known(top: Path) -> None:
    catalog = Catalog()
    for name in ALL:
        catalog.add(top / name)
    found = Found(top, catalog)
    assert (found.names, found.missing, found.unchanged) == ([], [], 3)


@pytest.mark.parametrize("change", ["size", "mtime", "rewritten", "back"])
def test_a_file_that_looks_different_is_looked_at_again(top: Path, change: str) -> None:
    catalog, path = Catalog(), top / "a" / "two.jpg"
    if change == "rewritten":
        os.utime(path, ns=(1, 1))
    for name in ALL:
        catalog.add(top / name, "missing" if change == "back" and name == "a/two.jpg" else "present")
    if change == "size":
        path.write_bytes(b"xy")
    elif change == "mtime":
        os.utime(path, ns=(1, 1))
    elif change == "rewritten":
        path.write_bytes(b"y")
        os.utime(path, ns=(1, 1))  # as `cp --preserve` leaves it; the change time tells
    found = Found(top, catalog)
    assert (found.names, found.missing, found.unchanged) == (["a/two.jpg"], [], 2)


def test_what_is_gone_is_missing_once(top: Path) -> None:
    catalog = Catalog()
    for name in ALL:
        catalog.add(top / name)
    (top / "x.jpg").write_bytes(b"")
    gone, long_gone = catalog.add(top / "x.jpg"), top / "y.jpg"
    long_gone.write_bytes(b"")
    catalog.add(long_gone, "missing")
    (top / "x.jpg").unlink()
    long_gone.unlink()
    found = Found(top, catalog)
    assert (found.names, found.missing, found.unchanged) == ([], [gone], 3)


@pytest.mark.parametrize("state", ["ignored", "failed"])
def test_what_came_to_nothing_is_not_looked_at_again_and_again(top: Path, state: str) -> None:
    catalog = Catalog()
    for name in ALL:
        catalog.add(top / name, state)
    assert Found(top, catalog).unchanged == 3


def test_folders_are_asked_for_many_at_a_time(tmp_path: Path) -> None:
    for number in range(FOLDERS_A_QUERY + 1):
        (tmp_path / str(number)).mkdir()
    catalog = Catalog()
    Found(tmp_path, catalog)
    assert catalog.asked == [FOLDERS_A_QUERY, 2]


def test_only_a_part_of_a_root_may_be_looked_through(top: Path) -> None:
    scan = Scan(top, [top / "a" / "b"], Rules(), Catalog())
    ((candidate,),) = [change.candidates for change in scan.changes()]
    assert (candidate.root, candidate.path.name) == (top, "three.jpg")


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        (["*.jpg"], []),
        (["a"], ["one.jpg"]),
        (["b"], ["a/two.jpg", "one.jpg"]),
        (["o*", "t[hx]*"], ["a/two.jpg"]),
        (["a/two.jpg", "*/b", "ONE.JPG", ""], ALL),
    ],
)
def test_names_to_ignore_are_patterns_of_the_last_part(top: Path, ignore: list[str], left: list[str]) -> None:
    assert Found(top, rules=Rules(ignore)).names == left


def test_a_name_with_a_line_break_is_ignored_as_a_whole(top: Path) -> None:
    (top / "x\n.part").write_bytes(b"")
    (top / "x.part\n").write_bytes(b"")
    assert "x\n.part" not in Found(top, rules=Rules(["*.part"])).names
    assert "x.part\n" in Found(top, rules=Rules(["*.part"])).names


def test_the_catalogs_own_files_are_left_alone(top: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        (top / f"catalog.db{suffix}").write_bytes(b"")
    (top / "a" / "catalog.db").write_bytes(b"")
    found = Found(top, rules=Rules(own=str(top / "catalog.db")))
    assert found.names == sorted([*ALL, "a/catalog.db"])


def test_a_file_in_a_folder_named_like_the_catalog_elsewhere_is_found(top: Path) -> None:
    assert Found(top, rules=Rules(own="catalog")).names == ALL


def test_links_are_candidates_and_not_followed(top: Path) -> None:
    (top / "link.jpg").symlink_to(top / "one.jpg")
    (top / "folder").symlink_to(top / "a")
    (top / "nowhere").symlink_to(top / "gone")
    found = Found(top)
    assert found.names == sorted([*ALL, "folder", "link.jpg", "nowhere"])
    assert all(item.stat == item.path.lstat() for item in found.candidates)


def test_links_are_followed_where_they_may_be_and_loops_end(
    top: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "four.jpg").write_bytes(b"xyz")
    (top / "linked.jpg").symlink_to(elsewhere / "four.jpg")
    (top / "a" / "folder").symlink_to(elsewhere)
    (top / "a" / "b" / "up").symlink_to(top)
    (top / "a" / "again").symlink_to(top / "a" / "b")
    found = Found(top, rules=Rules(follow_symlinks=True))
    three = [name for name in found.names if name.endswith("three.jpg")]
    assert three in (["a/b/three.jpg"], ["a/again/three.jpg"])
    assert sorted(set(found.names) - set(three)) == [
        "a/folder/four.jpg",
        "a/two.jpg",
        "linked.jpg",
        "one.jpg",
    ]
    (linked,) = (item for item in found.candidates if item.path.name == "linked.jpg")
    assert linked.stat is not None
    assert linked.stat.st_size == 3


def test_links_to_nowhere_and_in_a_circle_are_one_candidate_each(top: Path) -> None:
    (top / "nowhere").symlink_to(top / "gone")
    (top / "round").symlink_to(top / "round")
    found = Found(top, rules=Rules(follow_symlinks=True))
    by_name = {item.path.name: item for item in found.candidates}
    assert set(by_name) == {"one.jpg", "two.jpg", "three.jpg", "nowhere", "round"}
    assert by_name["nowhere"].stat == (top / "nowhere").lstat()
    assert by_name["round"].stat is None
    assert by_name["round"].trouble


@pytest.mark.parametrize("follow_symlinks", [False, True])
def test_what_goes_away_during_the_scan_is_missing(top: Path, follow_symlinks: bool) -> None:
    (top / "link").symlink_to(top / "one.jpg")
    catalog = Catalog()
    gone = [catalog.add(top / "one.jpg"), catalog.add(top / "link")]

    class Removing(Rules):
        def of_folder(self, folder: str) -> Callable[[str], object]:
            # Asked after the folder was opened and before its files are looked at.
            def remove(name: str) -> None:
                if not (top / name).is_dir():
                    (top / name).unlink()

            return remove if folder == str(top) else super().of_folder(folder)

    changes = list(Scan(top, [top], Removing(follow_symlinks=follow_symlinks), catalog).changes())
    missing = [number for change in changes for number in change.missing_ids]
    assert missing == gone


def test_names_no_encoding_knows_are_found_and_known_again(top: Path) -> None:
    names = [b"caf\xe9.jpg", b"new\nline.jpg", b"back\\slash.jpg", b"\\xe9.jpg", "夏.jpg".encode()]
    catalog = Catalog()
    for folder in (os.fsencode(top), os.fsencode(top) + b"/\xff"):
        os.makedirs(folder, exist_ok=True)
        for name in names:
            Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"")
    found = Found(top)
    assert {os.fsencode(item.path.name) for item in found.candidates} >= set(names)
    assert len(found.candidates) == 3 + 2 * len(names)
    for candidate in found.candidates:
        catalog.add(candidate.path)
    assert Found(top, catalog).unchanged == 3 + 2 * len(names)


def test_pipes_and_sockets_are_candidates_and_nothing_is_read(top: Path) -> None:
    os.mkfifo(top / "pipe.jpg")  # reading it would wait for ever
    assert Found(top).names == sorted([*ALL, "pipe.jpg"])


def test_a_folder_that_is_not_there_is_no_change(tmp_path: Path) -> None:
    found = Found(tmp_path / "gone")
    assert (found.candidates, found.missing, found.scan.visited, found.scan.unreadable) == ([], [], set(), [])


@pytest.fixture
def unprivileged_folder() -> Iterator[Path]:
    """A folder for files that the test may not read, even where the suite runs as root."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        if user == 0:
            os.seteuid(65534)  # nobody
        try:
            yield Path(name)
        finally:
            os.seteuid(user)


def test_a_folder_that_cannot_be_read_is_a_candidate_with_its_trouble(unprivileged_folder: Path) -> None:
    top, catalog = unprivileged_folder, Catalog()
    (top / "locked" / "deep").mkdir(parents=True)
    (top / "open").mkdir()
    for name in ("locked/a.jpg", "locked/deep/b.jpg", "open/c.jpg"):
        (top / name).write_bytes(b"")
        catalog.add(top / name)
    (top / "locked").chmod(0o000)
    try:
        found = Found(top, catalog)
    finally:
        (top / "locked").chmod(0o700)
    assert found.candidates == [
        Candidate(top, top / "locked", None, "the folder cannot be read; check its permissions")
    ]
    assert found.scan.unreadable == [top / "locked"]
    assert (found.missing, found.unchanged) == ([], 1)


def test_a_file_that_cannot_be_looked_at_is_a_candidate_with_its_trouble(unprivileged_folder: Path) -> None:
    top, catalog = unprivileged_folder, Catalog()
    (top / "a.jpg").write_bytes(b"")
    catalog.add(top / "a.jpg")
    top.joinpath("listed").mkdir()
    (top / "listed" / "b.jpg").write_bytes(b"")
    number = catalog.add(top / "listed" / "b.jpg")
    (top / "listed").chmod(0o600)  # its names may be read, and nothing more
    try:
        found = Found(top, catalog)
    finally:
        (top / "listed").chmod(0o700)
    (candidate,) = found.candidates
    assert (candidate.path.name, candidate.stat, candidate.trouble) == ("b.jpg", None, "Permission denied")
    assert number not in found.missing
