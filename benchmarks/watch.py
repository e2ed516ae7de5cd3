"""``enrich watch`` on a large tree: its start, its idling, and how soon a picture becomes a row.

The steps are colors and quality, so that no model's memory or time is in the figures.
"""

import argparse
import contextlib
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

# The test kit, which is not installed.
from arrivals import draw_png  # noqa: E402
from watching import Watch, watching  # noqa: E402
from workplace import Workplace  # noqa: E402

SETTLE_SECONDS = 2.0
#: Arrivals come so far apart, so that each is alone.
APART_SECONDS = 0.5
LOOK_SECONDS = 0.005


def fill(top: Path, folders: int) -> list[Path]:
    """Make so many folders, a hundred in each."""
    made = []
    for number in range(folders):
        folder = top / f"{number // 100:04}" / f"{number:06}"
        folder.mkdir(parents=True, exist_ok=True)
        made.append(folder)
    return made


def idle(watch: Watch, seconds: float) -> float:
    """Return how many percent of one core the daemon uses while nothing happens."""
    before, started = watch.cpu_seconds, time.monotonic()
    time.sleep(seconds)
    return 100 * (watch.cpu_seconds - before) / (time.monotonic() - started)


def arrive(folders: list[Path], count: int, due: dict[str, float]) -> None:
    """Write single pictures, and note when each has settled."""
    chance = random.Random(5)
    for number in range(count):
        path = chance.choice(folders) / f"arrival-{number}.png"
        path.write_bytes(draw_png(number, (64, 64)))
        due[str(path)] = time.time() + SETTLE_SECONDS
        time.sleep(APART_SECONDS)


def latencies(catalog: Path, folders: list[Path], count: int) -> list[float]:
    """Return how long after its settle time each of some single arrivals was a row, in seconds."""
    due: dict[str, float] = {}
    found: list[float] = []
    thread = threading.Thread(target=arrive, args=(folders, count, due))
    thread.start()
    with contextlib.closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=60)) as database:
        while len(found) < count:
            time.sleep(LOOK_SECONDS)
            new = database.execute("SELECT path FROM files ORDER BY id LIMIT -1 OFFSET ?", (len(found),))
            found += [time.time() - due[path] for (path,) in new.fetchall()]
    thread.join()
    return sorted(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--arrivals", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder), f"sqlite:///{folder}/catalog.db")
        place.config["roots"] = [{"path": "inbox", "settle_seconds": SETTLE_SECONDS}]
        place.config["steps"] = {"colors": {"plugin": "colors"}, "quality": {"plugin": "quality"}}
        folders = fill(place.inbox, given.folders)
        starts = []
        for _ in range(given.starts):
            with watching(place) as watch:
                starts.append(watch.ready_seconds)
                watch.stop()
        with watching(place) as watch:
            time.sleep(5)  # what follows the start is not idling
            idle_percent = idle(watch, given.idle_seconds)
            idle_mb = watch.resident_bytes / 1e6
            waits = latencies(Path(folder, "catalog.db"), folders, given.arrivals)
            peak_mb = watch.peak_resident_bytes / 1e6
        place.engine.dispose()
    figures = {
        "benchmark": "watch",
        "folders": len(folders),
        "start_seconds": round(statistics.median(starts), 3),
        "start_seconds_high": round(max(starts), 3),
        "idle_percent": round(idle_percent, 3),
        "idle_mb": round(idle_mb, 1),
        "peak_mb": round(peak_mb, 1),
        "latency_p50_seconds": round(statistics.median(waits), 3),
        "latency_p95_seconds": round(waits[round(0.95 * (len(waits) - 1))], 3),
    }
    print(f"watch: {len(folders)} folders, steps colors and quality, SQLite")
    rows = (
        ("start until READY (median)", "start_seconds", "s", "< 2"),
        ("idle, of one core", "idle_percent", "%", "< 0.5"),
        ("resident memory, idle", "idle_mb", "MB", "< 150"),
        (f"resident memory, peak of {len(waits)} arrivals", "peak_mb", "MB", "< 150"),
        ("row after the settle time, p50", "latency_p50_seconds", "s", ""),
        ("row after the settle time, p95", "latency_p95_seconds", "s", "< 1"),
    )
    for what, name, unit, wanted in rows:
        print(f"  {what:<42} {figures[name]:>8} {unit:<3} {wanted and 'wanted ' + wanted}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
