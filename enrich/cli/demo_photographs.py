"""The demo's last chapter: what can be said of the user's own photographs today."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from enrich.cli.demo_chapter import chapter, promise, shortened
from enrich.cli.demo_stage import Stage
from enrich.cli.demo_steps import choose_steps
from enrich.cli.output import print_table
from enrich.errors import UsageError

__all__ = ["choose_evenly", "find_pictures", "look_at"]

#: So many are looked at; they are chosen among so many; so many have a row.
_MOST = 24
_MOST_SEEN = 2000
_SHOWN = 8

_ROWS = """
    SELECT f.path, a.camera, date(a.taken_at), json_extract(c.data, '$.colors[0].name'),
        json_extract(q.data, '$.sharpness'), t.text
    FROM files f JOIN assets a ON a.id = f.asset_id
        LEFT JOIN annotations c ON c.asset_id = a.id AND c.step = 'colors' AND c.page = 0
        LEFT JOIN annotations q ON q.asset_id = a.id AND q.step = 'quality' AND q.page = 0
        LEFT JOIN texts t ON t.asset_id = a.id
    WHERE f.state = 'present' ORDER BY length(t.text) DESC, f.path
"""
#: What is counted, and how.
_SUMS = {
    "blurred": "SELECT count(*) FROM annotations WHERE json_extract(data, '$.is_blurred')",
    "underexposed": "SELECT count(*) FROM annotations WHERE json_extract(data, '$.is_underexposed')",
    "with a place": "SELECT count(*) FROM assets WHERE latitude IS NOT NULL",
    "with text": "SELECT count(*) FROM texts",
}
_REFUSED = "SELECT count(*) FROM jobs WHERE step = 'caption' AND reason = 'outside_domain'"


def find_pictures(path: Path) -> list[Path]:
    """Return the first pictures of a folder and those below it, or the one file that is named.

    Raises
    ------
    UsageError
        There is no such file or folder, or no picture in it. Not retryable.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    found = list(itertools.islice(_walk(path.absolute()), _MOST_SEEN))
    if not found:
        raise UsageError(f"{path}: no file in it is named like a picture")
    return found


def look_at(found: Sequence[Path], folder: Path) -> None:
    """Describe some of the pictures where they are, with a catalog of their own in ``folder``.

    Raises
    ------
    Unkept
        Something that enrich promises did not happen.
    """
    stage = Stage(folder, choose_steps("colors", "quality", "ocr", "caption"))
    stage.configure()
    chosen = choose_evenly(found)
    before = [_read(path) for path in chosen]
    of_many = f"{len(chosen)} of {'the first ' if len(found) == _MOST_SEEN else ''}{len(found)}"
    with chapter(f"Your own pictures, read where they are: enrich run over {of_many}"):
        done = stage.enrich("run", *chosen)
    promise(done.returncode in (0, 1), f"enrich run: {done.stderr.strip()}")
    promise([_read(path) for path in chosen] == before, "an original was changed")
    count = len(chosen) - before.count(None)
    click.echo(f"  {count} original{'s' * (count != 1)} read, and byte for byte as before")
    _tell(stage)


def _tell(stage: Stage) -> None:
    rows = stage.rows(_ROWS)
    print_table(
        ("file", "camera", "taken", "colour", "sharpness", "text"),
        [(Path(path).name, *said, shortened(text)) for path, *said, text in rows[:_SHOWN]],
    )
    if len(rows) > _SHOWN:
        click.echo(f"  and {len(rows) - _SHOWN} more")
    for title, statement in _SUMS.items():
        click.echo(f"  {stage.value(statement)} {title}:  {statement}")
    for failure in stage.failures():
        click.echo(f"  {failure}")
    if "caption" in stage.steps:
        click.echo(f"  {stage.value(_REFUSED)} of {len(rows)} refused by drawings-vlm, which knows drawings")


def choose_evenly(found: Sequence[Path]) -> list[Path]:
    """Return some of all, from everywhere: a folder's neighbours are often alike."""
    count = min(len(found), _MOST)
    return [found[number * len(found) // count] for number in range(count)]


def _walk(path: Path) -> Iterator[Path]:
    from enrich.rendition import named_like_picture

    if not path.is_dir():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if named_like_picture(name))


def _read(path: Path) -> tuple[int, str] | None:
    """Return when a file was written, and the hash of its bytes; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # which is for `enrich run` to say
        return None
