"""Whether everything was described, and once: after whatever was done to those who did it."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from workplace import Workplace

from enrich.catalog.clean import unescape_path

_SLOW = """
import hashlib, os, pathlib, time
import enrich

LOG = os.open(pathlib.Path(__file__).with_name("said.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@enrich.hookimpl
def enrich_data(renditions, context):
    while os.path.exists(os.environ.get("HOLD", "")):
        os.write(LOG, f"holding in {os.getpid()}\\n".encode())
        time.sleep(0.02)
    for rendition in renditions:
        time.sleep(SECONDS)
        os.write(LOG, f"{context.step} {rendition.asset_id}\\n".encode())
    return [{"pixels": hashlib.sha256(rendition.pixels.tobytes()).hexdigest()} for rendition in renditions]
"""


#: The steps of ``prepare``.
STEPS = ("first", "second")

#: No rescan comes to the help of what is tested.
NEVER_SECONDS = 10_000


def prepare(place: Workplace) -> None:
    """Let two steps take a little time for each picture, and leave everything to events."""
    place.plugin("slow", slow_plugin(0.002))
    place.config |= {"steps": {name: {"plugin": "slow"} for name in STEPS}, "batch_size": 8}
    place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.1, "rescan_seconds": NEVER_SECONDS}]


def bring(place: Workplace, name: str, count: int) -> list[Path]:
    """Draw pictures into a folder; no other folder has one of them."""
    return [place.draw(f"{name}/{number}.png", (number, len(name), ord(name[0]))) for number in range(count)]


def slow_plugin(seconds: float) -> str:
    """Return a plugin that says which pixels it sees, and takes its time for each rendition.

    While there is a file that the variable HOLD names, it waits in the middle of a batch.
    """
    return _SLOW.replace("SECONDS", str(seconds))


def owner(place: Workplace) -> int | None:
    """Return the process that looks after the only root, as the catalog says; None for nobody."""
    names = place.column("SELECT owner FROM roots WHERE owner IS NOT NULL")
    return int(names[0].split("/")[-2]) if names else None


def check_done_once(place: Workplace, steps: Collection[str]) -> None:
    """Nothing lost, nothing twice: each file below the inbox is there as it is now and described once."""
    place.check_counters()
    found = {unescape_path(row["path"]): row for row in place.rows("SELECT * FROM files")}
    there = {path: path.read_bytes() for path in place.inbox.rglob("*") if path.is_file()}
    assert {path: row["sha256"] for path, row in found.items() if row["state"] == "present"} == {
        path: hashlib.sha256(content).hexdigest() for path, content in there.items()
    }
    assert place.states("files") == {"present": len(there)}
    assets = len(set(there.values()))
    assert place.column("SELECT count(*) FROM assets") == [assets]
    assert place.states("jobs") == {"done": assets * len(steps)}
    check_annotated_once(place)
    said = place.rows("SELECT step, count(*) AS n FROM annotations GROUP BY step")
    assert {row["step"]: row["n"] for row in said} == dict.fromkeys(steps, assets)


def check_annotated_once(place: Workplace) -> None:
    """No step has said anything twice of an asset, superseded annotations included."""
    twice = (
        "SELECT asset_id, step, item, page, count(*) FROM annotations GROUP BY 1, 2, 3, 4 HAVING count(*) > 1"
    )
    assert place.rows(twice) == []
    if place.engine.dialect.name == "sqlite":
        assert place.column("PRAGMA integrity_check") == ["ok"]
        assert place.column("PRAGMA foreign_key_check") == []
