"""Looking through files that did not change, against a bare scandir + stat walk."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
from measure import compare, report

from enrich.catalog import files, schema
from enrich.catalog.clean import escape_path, path_digest
from enrich.catalog.engine import create_engine, writing
from enrich.catalog.tables import File
from enrich.scan import Rules, Scan
from enrich.sweep import Catalogued


def fill(top: Path, count: int, per_folder: int) -> list[dict[str, object]]:
    """Make empty files, and the rows the catalog has of them."""
    import datetime as dt

    rows = []
    now = dt.datetime.now(dt.UTC)
    for number in range(count):
        folder = top / f"{number // per_folder:05}"
        if number % per_folder == 0:
            folder.mkdir()
        path = folder / f"picture_{number:07}.jpg"
        path.touch()
        status = path.stat()
        rows.append(
            {
                "root": escape_path(top),
                "path": escape_path(path),
                "path_digest": path_digest(path),
                "folder": escape_path(folder),
                "size_bytes": status.st_size,
                "modified_ns": status.st_mtime_ns,
                "changed_ns": status.st_ctime_ns,
                "inode": status.st_ino,
                "fingerprint": files.fingerprint(
                    path.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns
                ),
                "state": "present",
                "attempts": 1,
                "seen_at": now,
            }
        )
    return rows


def walk(top: Path) -> int:
    """Walk and stat: the least a scan can do."""
    found, waiting = 0, [str(top)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    found += 1
    return found


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--per-folder", type=int, default=100)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder, "files")
        top.mkdir()
        engine = create_engine(f"sqlite:///{folder}/catalog.db")
        schema.ensure(engine)
        rows = fill(top, given.files, given.per_folder)
        with writing(engine).begin() as connection:
            connection.execute(sa.insert(File), rows)

        def ours() -> None:
            scan = Scan(top, [top], Rules(("*.part", "~*")), Catalogued(engine))
            with engine.connect() as connection:
                catalogued = files.folders_below(connection, top)
            changes = list(scan.changes())
            assert sum(item.unchanged for item in changes) == given.files
            assert not any(item.candidates or item.missing_ids for item in changes)
            assert not catalogued - scan.visited

        def peer() -> None:
            assert walk(top) == given.files

        time.sleep(1)
        what = f"{given.per_folder} files a folder, SQLite"
        report(
            "rescan", what, "walk", given.files, compare(ours, peer, given.runs), ">= 0.5 (twice the time)"
        )


if __name__ == "__main__":
    main()
