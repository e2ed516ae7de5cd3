"""The ways a picture can arrive in a folder, each done for real.

A way is a function that is given a :class:`Site`, and returns the paths it brought with their
finished bytes. No two pictures of a site are alike.
"""

import hashlib
import itertools
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

#: What a way brought: paths, with the bytes of the finished files.
Brought = dict[Path, bytes]

#: A file system in memory, so that a move from there is a copy.
MEMORY = Path("/dev/shm")

#: Of a picture that takes its time to arrive: about 190 KB.
LARGE = (256, 256)


def draw_png(number: int, size: tuple[int, int] = (8, 6)) -> bytes:
    """Return a PNG of noise, the same for the same number; without Pillow, because floods need many."""
    width, height = size
    noise = random.Random(number).randbytes(3 * width * height)
    rows = b"".join(b"\0" + noise[start : start + 3 * width] for start in range(0, len(noise), 3 * width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@dataclass(frozen=True, slots=True)
class Site:
    """Where pictures arrive.

    ``scratch`` is on the file system of ``inbox`` and outside every root. A slow writer takes
    ``slow_seconds`` in all; none pauses for longer than ``pause_seconds``, which is below the settle time.
    """

    inbox: Path
    scratch: Path
    slow_seconds: float = 2.5
    pause_seconds: float = 0.4
    folders: int = 300
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def picture(self, size: tuple[int, int] = (8, 6)) -> bytes:
        return draw_png(next(self.numbers), size)

    def aside(self) -> Path:
        """Return a new folder that nobody watches."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    def waiting(self, name: str, content: bytes) -> Path:
        """Return a finished file that nobody watches."""
        path = self.aside() / name
        path.write_bytes(content)
        return path


Way = Callable[[Site], Brought]


def copied(site: Site) -> Brought:
    path, content = site.inbox / "copied.png", site.picture(LARGE)
    _command("cp", site.waiting("original.png", content), path)
    return {path: content}


def copied_with_times(site: Site) -> Brought:
    """Files that look old at once: their modification times came along."""
    path, content = site.inbox / "copied_with_times.png", site.picture()
    waiting = site.waiting("original.png", content)
    os.utime(waiting, (1_000_000_000, 1_000_000_000))
    _command("cp", "-p", waiting, path)
    return {path: content}


def moved_across_file_systems(site: Site) -> Brought:
    path, content = site.inbox / "moved_across.png", site.picture(LARGE)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        (Path(folder) / "original.png").write_bytes(content)
        _command("mv", Path(folder) / "original.png", path)
    return {path: content}


def moved_within_a_file_system(site: Site) -> Brought:
    path, content = site.inbox / "moved_within.png", site.picture()
    _command("mv", site.waiting("original.png", content), path)
    return {path: content}


def hard_linked(site: Site) -> Brought:
    path, content = site.inbox / "hard_linked.png", site.picture()
    path.hardlink_to(site.waiting("original.png", content))
    return {path: content}


def rsynced(site: Site) -> Brought:
    """Written under a hidden temporary name, for about two seconds, then renamed."""
    # Large enough that rsync, which collects 256 KB before it writes, never pauses for long.
    path, content = site.inbox / "rsynced.png", site.picture((720, 720))
    _command("rsync", "--times", "--bwlimit=800", site.waiting("rsynced.png", content), f"{site.inbox}/")
    return {path: content}


def written_slowly(site: Site) -> Brought:
    path, content = site.inbox / "written_slowly.png", site.picture(LARGE)
    steps = max(2, round(site.slow_seconds / site.pause_seconds))
    with path.open("wb", buffering=0) as writing:
        for part in _parts(content, steps):
            writing.write(part)
            time.sleep(site.slow_seconds / steps)
    return {path: content}


def preallocated_then_filled(site: Site) -> Brought:
    """Of its full size at once, and filled from the end to the start."""
    path, content = site.inbox / "preallocated.png", site.picture(LARGE)
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(file, 0, len(content))
        start = len(content)
        for part in reversed(_parts(content, 4)):
            time.sleep(site.pause_seconds)
            start -= len(part)
            os.pwrite(file, part, start)
    finally:
        os.close(file)
    return {path: content}


def reopened_and_appended(site: Site) -> Brought:
    """Closed twice before it is complete."""
    path, content = site.inbox / "reopened.png", site.picture(LARGE)
    for part in _parts(content, 3):
        with path.open("ab") as appending:
            appending.write(part)
        time.sleep(site.pause_seconds)
    return {path: content}


def touched_then_written(site: Site) -> Brought:
    """A name that is reserved with an empty file first."""
    path, content = site.inbox / "touched.png", site.picture()
    path.touch()
    time.sleep(site.pause_seconds)
    path.write_bytes(content)
    return {path: content}


def renamed_from_an_ignored_name(site: Site) -> Brought:
    """Half of it waits for long under a name that the rules leave alone."""
    path, content = site.inbox / "renamed_ignored.png", site.picture(LARGE)
    temporary = path.with_name(path.name + ".part")
    first, second = _parts(content, 2)
    temporary.write_bytes(first)
    time.sleep(site.slow_seconds)
    with temporary.open("ab") as appending:
        appending.write(second)
    os.replace(temporary, path)
    return {path: content}


def renamed_from_another_name(site: Site) -> Brought:
    path, content = site.inbox / "renamed_other.png", site.picture(LARGE)
    temporary = path.with_name(".upload-8f3a")
    first, second = _parts(content, 2)
    temporary.write_bytes(first)
    time.sleep(site.pause_seconds)
    with temporary.open("ab") as appending:
        appending.write(second)
    os.replace(temporary, path)
    return {path: content}


def saved_by_an_editor(site: Site) -> Brought:
    """The first version goes aside, the second takes its name, the first is deleted."""
    path, content = site.inbox / "edited.png", site.picture()
    path.write_bytes(site.picture())
    time.sleep(site.pause_seconds)
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    path.write_bytes(content)
    backup.unlink()
    return {path: content}


def overwritten_in_place(site: Site) -> Brought:
    """The same inode, and the same size."""
    path, content = site.inbox / "overwritten.png", site.picture()
    first = site.picture()
    path.write_bytes(first)
    time.sleep(site.pause_seconds)
    path.write_bytes(content)
    return {path: content}


def unpacked(site: Site) -> Brought:
    folder = site.aside()
    brought = {}
    for number in range(12):
        name = f"unpacked/{number // 4}/{number:02}.png"
        waiting = folder / name
        waiting.parent.mkdir(parents=True, exist_ok=True)
        waiting.write_bytes(content := site.picture())
        os.utime(waiting, (1_000_000_000, 1_000_000_000))
        brought[site.inbox / name] = content
    archive = site.aside() / "archive.tar"
    _command("tar", "-C", folder, "-cf", archive, "unpacked")
    _command("tar", "-C", site.inbox, "-xf", archive)
    return brought


def moved_in_tree(site: Site) -> Brought:
    """A tree that is there at once, with a picture at each of twelve levels."""
    folder, top = site.aside(), site.inbox / "moved_in"
    brought = {}
    below = Path()
    for level in range(12):
        (folder / "moved_in" / below).mkdir()
        content = site.picture()
        (folder / "moved_in" / below / "picture.png").write_bytes(content)
        brought[top / below / "picture.png"] = content
        below /= f"level {level}"
    os.rename(folder / "moved_in", top)
    return brought


def copied_folders(site: Site) -> Brought:
    """Many new folders, each with a picture that is there before anybody can watch it."""
    folder = site.aside()
    brought = {}
    for number in range(site.folders):
        name = f"copied_folders/{number // 50:03}/{number:05}/picture.png"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content := site.picture())
        brought[site.inbox / name] = content
    _command("cp", "-r", folder / "copied_folders", site.inbox)
    return brought


def oddly_named(site: Site) -> Brought:
    names = [
        b"with some spaces .png",
        b"a line\nbreak.png",
        b"undecodable \xff\xfe\x80.png",
        b"-rf.png",
        "été 写真 🙂.png".encode(),
        b"quotes '\" and % $HOME `id`.png",
        b"NO_ENDING",
        b"x" * 251 + b".png",
    ]
    brought = {}
    for name in names:
        path = site.inbox / os.fsdecode(name)
        path.write_bytes(content := site.picture())
        brought[path] = content
    return brought


def linked(site: Site) -> Brought:
    """Two symbolic links, to a file and to a folder elsewhere; they arrive where links are followed."""
    file, folder = site.inbox / "linked.png", site.inbox / "linked folder"
    content, other = site.picture(), site.picture()
    file.symlink_to(site.waiting("original.png", content))
    folder.symlink_to(site.waiting("picture.png", other).parent)
    return {file: content, folder / "picture.png": other}


#: Every way but links, which the settings of a root decide about.
WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        copied,
        copied_folders,
        copied_with_times,
        hard_linked,
        moved_across_file_systems,
        moved_in_tree,
        moved_within_a_file_system,
        oddly_named,
        overwritten_in_place,
        preallocated_then_filled,
        renamed_from_an_ignored_name,
        renamed_from_another_name,
        reopened_and_appended,
        rsynced,
        saved_by_an_editor,
        touched_then_written,
        unpacked,
        written_slowly,
    )
}


def has_rsync() -> bool:
    return shutil.which("rsync") is not None


def possible_ways() -> dict[str, Way]:
    """Return the ways this machine knows."""
    return {name: way for name, way in WAYS.items() if way is not rsynced or has_rsync()}


def bring(site: Site, ways: Mapping[str, Way]) -> dict[str, Brought]:
    """Let pictures arrive in every way at once; return what each brought."""
    with ThreadPoolExecutor(len(ways)) as pool:
        arriving = {name: pool.submit(way, site) for name, way in ways.items()}
        return {name: future.result() for name, future in arriving.items()}


def merged(brought: Mapping[str, Brought]) -> Brought:
    """Return what several ways brought together."""
    return {path: content for files in brought.values() for path, content in files.items()}


def flood(top: Path, count: int, folders: int, first_number: int = 0) -> Brought:
    """Write pictures as fast as the disk goes: into ``top``, or, in turn, into new folders below it.

    They are drawn before, so that drawing does not slow the flood down.
    """
    brought = {}
    for number in range(count):
        folder = top / f"{number * folders // count:05}" if folders else top
        brought[folder / f"{number:06}.png"] = draw_png(first_number + number)
    last = top
    for path, content in brought.items():
        if path.parent != last:
            last = path.parent
            last.mkdir()
        with open(path, "wb", buffering=0) as writing:  # faster than Path.write_bytes
            writing.write(content)
    return brought


def sha256_by_path(brought: Mapping[Path, bytes]) -> dict[Path, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in brought.items()}


def _parts(content: bytes, count: int) -> list[bytes]:
    size = -(-len(content) // count)
    return [content[start : start + size] for start in range(0, len(content), size)]


def _command(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
