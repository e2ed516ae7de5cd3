"""A lookout with a real catalog: what scans and events find, and what is believed to be gone."""

import errno
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from arrivals import draw_png
from catalog_kit import NOW, Catalog

from enrich import hints, lookout
from enrich.catalog import files, roots
from enrich.catalog.files import FileRecord
from enrich.catalog.ownership import Ownership
from enrich.catalog.roots import RootReport
from enrich.doubts import Doubts
from enrich.hints import News
from enrich.lookout import Lookout
from enrich.reading import Reader
from enrich.scan import Candidate
from enrich.settings import Root
from enrich.sweep import Catalogued


class Site:
    """A root with its lookout; what is offered waits until it is taken in."""

    def __init__(self, catalog: Catalog, top: Path) -> None:
        self.catalog, self.top = catalog, top
        self.offered: list[Candidate] = []
        self.on_offer: Callable[[Candidate], object] = lambda candidate: None
        self.configure()

    def configure(self, **facts: object) -> None:
        """Look again, as a daemon that was started again with other settings."""
        self.root = Root.model_validate({"path": self.top, **facts})
        self.restart()

    def restart(self) -> None:
        self.catalogued = Catalogued(self.catalog.engine)
        self.lookout = Lookout(
            self.root,
            own=self.catalog.engine.url.database or "",
            catalogued=self.catalogued,
            offer=self.offer,
            miss=self.miss,
        )

    def draw(self, *names: str) -> list[Path]:
        return [draw(self.top / name) for name in names]

    def offer(self, candidate: Candidate) -> bool:
        self.offered.append(candidate)
        self.on_offer(candidate)
        return True

    def miss(self, file_ids: list[int]) -> int:
        return self.catalog.write(files.mark_missing, file_ids, NOW)

    def scan(self) -> str | None:
        """Scan, and take in what is found."""
        absence = self.lookout.scan()
        self.take_in()
        return absence

    def take_in(self) -> list[str]:
        """Catalogue what was offered; return its names."""
        offered, self.offered = self.offered, []
        read = [Reader(max_pixels=10**6).read(candidate) for candidate in offered]
        records = [record for record in read if isinstance(record, FileRecord)]
        if records:
            self.catalog.ingest(*records)
        return sorted(self.name(candidate.path) for candidate in offered)

    def hint(self, *paths: Path, is_folder: bool = False, has_left: bool = False) -> None:
        """Let an event have named some paths."""
        names = {str(path): is_folder for path in paths}
        self.lookout.take(News(names, left=set(names) if has_left else set()))

    def name(self, path: str | Path) -> str:
        return str(Path(path).relative_to(self.top))

    def names(self, state: str) -> list[str]:
        rows = self.catalog.column("SELECT path FROM files WHERE state = :state ORDER BY path", state=state)
        return [self.name(path) for path in rows]

    def pretend_device(self, number: int) -> None:
        """Let the root have been on another device when it was last seen; look as if started again."""
        report = RootReport(self.top, "online", None, "events", number, "one", 1, 1, NOW)
        self.catalog.write(roots.record, report, NOW)
        self.restart()


def draw(path: Path) -> Path:
    """Draw a picture that no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw_png(zlib.crc32(bytes(path))))
    return path


@pytest.fixture
def database() -> str:
    """In most of this the database has no part."""
    return "sqlite"


both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@pytest.fixture
def site(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    # What is gone is believed at once; test_hints has the waiting.
    monkeypatch.setattr(hints, "GONE_SECONDS", 0.0)
    top = tmp_path / "top"
    top.mkdir()
    return Site(catalog, top)


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Let the system fail to look at a path: not by permissions, because tests may run as root."""
    for name in ("stat", "lstat", "scandir"):
        real = getattr(os, name)

        def look(asked: Path, *, real: Callable[..., object] = real, **options: object) -> object:
            if str(asked) == str(path):
                raise OSError(number, os.strerror(number))
            return real(asked, **options)

        monkeypatch.setattr(os, name, look)


@both
def test_a_scan_offers_what_is_new_and_marks_what_is_gone(site: Site) -> None:
    one, two, three = site.draw("one.png", "a/two.png", "a/b/three.png")
    assert site.scan() is None
    assert (site.lookout.found, site.lookout.folders) == (3, 3)
    assert site.names("present") == ["a/b/three.png", "a/two.png", "one.png"]
    assert site.scan() is None
    assert (site.lookout.found, site.lookout.folders) == (0, 3)
    two.unlink()
    one.write_bytes(three.read_bytes())
    site.draw("c/new.png")
    assert site.lookout.scan() is None
    assert site.take_in() == ["c/new.png", "one.png"]
    assert site.names("missing") == ["a/two.png"]
    assert site.catalog.column("SELECT missing_at IS NOT NULL FROM files WHERE state = 'missing'") == [True]


@both
def test_a_missing_file_that_is_back_is_offered(site: Site, tmp_path: Path) -> None:
    _, path = site.draw("kept.png", "path.png")
    site.scan()
    os.rename(path, tmp_path / "elsewhere.png")
    site.scan()
    assert site.names("missing") == ["path.png"]
    os.rename(tmp_path / "elsewhere.png", path)
    site.scan()
    assert site.names("present") == ["kept.png", "path.png"]
    assert site.catalog.column("SELECT count(*) FROM files WHERE missing_at IS NULL") == [2]


@both
def test_a_folder_that_is_gone_takes_its_files_along(site: Site) -> None:
    site.draw("kept.png", "a/one.png", "a/b/two.png", "ab/three.png")
    site.scan()
    shutil.rmtree(site.top / "a")
    assert site.scan() is None
    assert site.names("missing") == ["a/b/two.png", "a/one.png"]


def test_a_folder_that_cannot_be_read_is_not_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.draw("kept.png", "a/one.png", "a/b/two.png")
    site.scan()
    refuse(monkeypatch, site.top / "a", errno.EACCES)
    assert site.lookout.scan() is None
    assert [site.name(candidate.path) for candidate in site.offered] == ["a"], "to say so"
    assert site.names("missing") == []


@pytest.mark.parametrize("how", ["removed", "emptied", "a file"])
def test_a_root_that_went_away_takes_nothing_along(site: Site, tmp_path: Path, how: str) -> None:
    site.draw("one.png", "a/two.png")
    site.scan()
    if how == "emptied":
        for path in site.top.iterdir():
            os.rename(path, tmp_path / path.name)
    else:
        os.rename(site.top, tmp_path / "away")
        if how == "a file":
            site.top.write_bytes(b"")
    absence = site.scan()
    assert absence == ("is empty, and was not" if how == "emptied" else "is not there")
    assert absence == site.lookout.absence()
    assert site.names("missing") == []


def test_an_empty_root_that_always_was_is_there(site: Site) -> None:
    assert site.scan() is None
    assert (site.lookout.found, site.lookout.folders) == (0, 1)


def test_a_root_with_folders_and_no_file_any_more_is_away(site: Site) -> None:
    """A share that shows its folders and not yet their files."""
    (path,) = site.draw("a/b/one.png")
    site.scan()
    path.unlink()
    assert site.scan() == "holds no file any more, and did"
    assert site.names("missing") == []
    site.draw("a/other.png")
    assert site.scan() is None
    assert site.names("missing") == ["a/b/one.png"], "it is there, and this one is not"


def test_another_device_with_the_same_files_is_the_same_root(site: Site) -> None:
    (path, _) = site.draw("one.png", "a/two.png")
    site.scan()
    site.pretend_device(1)
    path.unlink()
    assert site.scan() is None
    assert site.names("missing") == ["one.png"]
    assert site.lookout.device == os.stat(site.top).st_dev


@both
def test_another_device_with_other_files_is_another_root(site: Site) -> None:
    path, _ = site.draw("one.png", "a/two.png")
    site.scan()
    site.pretend_device(1)
    shutil.rmtree(site.top / "a")
    path.unlink()
    site.draw("NOT MOUNTED.png")
    for _ in range(2):
        assert site.scan() == "is on another device than before, and holds none of its files"
        assert site.lookout.device == 1, "it is not the root's, however often it is looked at"
    assert site.names("missing") == []
    assert site.names("present") == ["a/two.png", "one.png"]
    site.draw("a/two.png")
    assert site.scan() is None, "one of its files is back"


def test_another_device_with_nothing_catalogued_is_no_reason(site: Site) -> None:
    site.pretend_device(1)
    site.draw("one.png")
    assert site.scan() is None
    assert site.names("present") == ["one.png"]


@pytest.mark.parametrize("is_replaced", [False, True], ids=["gone", "replaced"])
def test_a_root_that_goes_away_in_the_middle_of_a_scan(site: Site, tmp_path: Path, is_replaced: bool) -> None:
    """What is looked for below a share that went offline is not there, and yet is not gone."""
    site.draw(*(f"{number:03}/one.png" for number in range(150)))
    site.scan()
    site.draw("new.png")

    def unmount(candidate: Candidate) -> None:
        os.rename(site.top, tmp_path / "away")
        if is_replaced:  # by what the folder under the mount point holds
            draw(site.top / "new.png")

    site.on_offer = unmount
    absence = site.lookout.scan()
    assert site.names("missing") == []
    assert absence == ("was replaced while it was looked through" if is_replaced else "is not there")


@both
def test_events_offer_files_that_are_not_as_catalogued(site: Site) -> None:
    same, changed = site.draw("same.png", "a/changed.png")
    site.scan()
    changed.write_bytes(changed.read_bytes() + b"!")
    (new,) = site.draw("a/new.png")
    site.hint(same, changed, new, site.top, site.top / "never.png")
    assert site.take_in() == ["a/changed.png", "a/new.png"]


def test_events_of_folders_have_them_looked_through(site: Site) -> None:
    gone, _ = site.draw("a/gone.png", "a/b/kept.png")
    site.scan()
    gone.unlink()
    site.draw("a/b/c/new.png", "elsewhere.png")
    site.hint(site.top / "a" / "b", site.top / "a", is_folder=True)
    assert site.take_in() == ["a/b/c/new.png"], "each once, and nothing of other folders"
    assert site.names("missing") == ["a/gone.png"]


def test_events_of_what_is_left_alone_are_too(site: Site) -> None:
    site.configure(ignore=["@*", "*.part"])
    paths = site.draw("@eaDir/one.png", "two.png.part", ".three.png.Xy12Zz", "four.png")
    site.hint(*paths)
    site.hint(site.top / "@eaDir", is_folder=True)
    assert site.take_in() == ["four.png"]


def test_what_events_say_is_gone_is_looked_for_again(site: Site) -> None:
    one, two, _ = site.draw("one.png", "two.png", "three.png")
    site.scan()
    one.unlink()
    content = two.read_bytes()
    two.unlink()
    site.hint(one, two)
    assert site.names("missing") == [], "not yet"
    two.write_bytes(content)
    assert site.lookout.miss_gone()
    assert site.names("missing") == ["one.png"]
    assert site.lookout.due_at == float("inf")


@pytest.mark.parametrize("is_folder", [True, False], ids=["known to be a folder", "by its files"])
def test_a_tree_that_was_moved_away_is_missing(site: Site, tmp_path: Path, is_folder: bool) -> None:
    site.draw("kept.png", "a/one.png", "a/b/two.png", "ab/three.png")
    site.scan()
    os.rename(site.top / "a", tmp_path / "a")
    if is_folder:
        site.hint(site.top / "a", is_folder=True, has_left=True)
    else:
        site.hint(*(site.top / "a" / name for name in ("one.png", "b/two.png")))
    assert site.lookout.miss_gone()
    assert site.names("missing") == ["a/b/two.png", "a/one.png"]


@both
def test_a_tree_that_was_moved_away_and_replaced(site: Site, tmp_path: Path) -> None:
    """The way to publish a folder at once: what only the old one held is gone, in its folders too."""
    site.draw("d/old.png", "d/sub/older.png", "other.png")
    site.scan()
    os.rename(site.top / "d", tmp_path / "d")
    site.draw("d/new.png")
    site.hint(site.top / "d", is_folder=True, has_left=True)
    assert site.lookout.miss_gone()
    assert site.take_in() == ["d/new.png"]
    assert site.names("missing") == ["d/old.png", "d/sub/older.png"]


def test_many_folders_that_went_away_are_left_to_a_scan(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "MAX_GONE_FOLDERS", 3)
    site.draw("kept.png", *(f"{number}/one.png" for number in range(4)))
    site.scan()
    for number in range(4):
        shutil.rmtree(site.top / str(number))
    site.hint(*(site.top / str(number) for number in range(4)), is_folder=True)
    assert not site.lookout.miss_gone()
    assert site.names("missing") == []
    assert site.lookout.miss_gone(), "said once"
    site.scan()
    assert site.names("missing") == [f"{number}/one.png" for number in range(4)]


@pytest.mark.parametrize("is_emptied", [False, True], ids=["gone", "emptied"])
def test_nothing_is_missing_of_a_root_that_went_away(site: Site, tmp_path: Path, is_emptied: bool) -> None:
    """Its files may be gone before it is: events of them are not believed then."""
    paths = site.draw("one.png", "a/two.png")
    site.scan()
    os.rename(site.top, tmp_path / "away")
    if is_emptied:
        site.top.mkdir()
    site.hint(*paths)
    site.hint(site.top / "a", is_folder=True)
    assert site.lookout.miss_gone()
    assert site.names("missing") == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_cannot_be_looked_at_is_not_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A folder that was closed, or a server out of breath, is no deletion."""
    path, _ = site.draw("a/one.png", "kept.png")
    site.scan()
    refuse(monkeypatch, path, number)
    site.hint(path)
    assert site.lookout.miss_gone()
    assert site.names("missing") == []


@pytest.mark.parametrize("is_followed", [False, True], ids=["not followed", "followed"])
def test_symbolic_links(site: Site, tmp_path: Path, is_followed: bool) -> None:
    site.configure(follow_symlinks=is_followed)
    draw(tmp_path / "outside" / "one.png")
    (plain,) = site.draw("plain.png")
    linked_folder, linked_file = site.top / "folder", site.top / "link.png"
    linked_folder.symlink_to(tmp_path / "outside")
    linked_file.symlink_to(plain)
    dangling = site.top / "dangling.png"
    dangling.symlink_to(tmp_path / "nowhere")
    site.hint(linked_folder, linked_file, dangling)
    site.take_in()
    site.scan()
    present = ["folder/one.png", "link.png", "plain.png"] if is_followed else ["plain.png"]
    ignored = ["dangling.png"] if is_followed else ["dangling.png", "folder", "link.png"]
    assert (site.names("present"), site.names("ignored")) == (present, ignored)
    site.scan()
    assert site.lookout.found == 0, "events and scans agree on what they saw"
    (tmp_path / "nowhere").write_bytes(plain.read_bytes())
    site.hint(dangling)
    site.take_in()
    assert ("dangling.png" in site.names("present")) == is_followed


def test_the_catalog_itself_is_left_alone(site: Site) -> None:
    # The folder that holds the catalog, its journal, and a lock of whoever looks after the root.
    site.top = site.top.parent
    site.configure()
    site.draw("one.png")
    owner = Ownership(site.catalog.engine, site.top)
    assert owner.acquire()
    site.scan()
    owner.release()
    assert len(list(site.top.glob("catalog.db-root-*.lock"))) == 1
    assert site.names("present") + site.names("ignored") + site.names("failed") == ["one.png"]


def look(site: Site, *paths: Path) -> list[str]:
    """Doubt some paths; return the names of what is then offered."""
    doubts = Doubts(site.catalogued)
    for path in paths:
        doubts.add(path)
    doubts.look(site.offer, site.miss)
    assert doubts.is_empty
    return sorted(site.name(candidate.path) for candidate in site.offered)


@both
def test_a_doubted_file_is_offered_or_missing(site: Site) -> None:
    same, gone, unknown = site.draw("same.png", "gone.png", "unknown.png")
    unknown.unlink()
    site.scan()
    gone.unlink()
    site.draw("unknown.png")
    assert look(site, same, gone, unknown) == ["same.png"]
    assert site.names("missing") == ["gone.png"]


def test_doubts_of_a_root_that_is_away_wait(site: Site, tmp_path: Path) -> None:
    (path,) = site.draw("one.png")
    site.scan()
    os.rename(site.top, tmp_path / "away")
    assert look(site, path) == []
    assert site.names("missing") == []


def test_a_doubted_file_that_cannot_be_looked_at_is_not_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = site.draw("one.png", "kept.png")
    site.scan()
    refuse(monkeypatch, path, errno.EIO)
    look(site, path)
    assert site.names("missing") == []


def test_a_doubted_file_that_became_a_link_is_offered_as_one(site: Site, tmp_path: Path) -> None:
    """Otherwise what a scan leaves alone would be catalogued, and the next scan undo it."""
    (path,) = site.draw("one.png")
    site.scan()
    path.unlink()
    path.symlink_to(draw(tmp_path / "outside.png"))
    assert look(site, path) == ["one.png"]
    site.take_in()
    assert site.names("ignored") == ["one.png"]
