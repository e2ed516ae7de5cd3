"""More files at once than events can tell of: none is lost, and the catalog says how many were rescued."""

import os
import signal
from pathlib import Path

import arrivals
import pytest
from watching import watching
from workplace import Workplace

IS_SOAK = os.environ.get("ENRICH_SOAK") == "1"
FILES, FOLDERS = (50_000, 2_500) if IS_SOAK else (3_000, 200)

#: How many events the kernel keeps for a program that does not fetch them.
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.mark.timeout(3_600 if IS_SOAK else 240)
@pytest.mark.parametrize("folders", [0, FOLDERS], ids=["one folder", "new folders"])
def test_flood(place: Workplace, folders: int) -> None:
    place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.5, "rescan_seconds": 10_000}]
    with watching(place) as watch:
        brought = arrivals.flood(place.inbox, FILES, folders)
        seconds = 3_000 if IS_SOAK else 100
        watch.wait_for("SELECT count(*) FROM files WHERE state = 'present'", FILES, seconds)
        watch.wait_for("SELECT count(*) FROM jobs WHERE state <> 'done'", 0, seconds)
        peak_mb = watch.peak_resident_bytes / 1e6
        assert watch.stop()[0] == 0
    (root,) = place.rows("SELECT events_seen, events_lost, rescued FROM roots")
    print(f"\nflood of {FILES} files, {folders or 'no'} new folders, peak {peak_mb:.0f} MB: {root}")
    place.check_counters()
    assert place.states() == {"present": FILES}
    assert place.states("jobs") == {"done": FILES}
    hashes = set(place.column("SELECT sha256 FROM files"))
    assert hashes == set(arrivals.sha256_by_path(brought).values()), "each as it is at the end"
    assert place.column("SELECT count(*) FROM assets") == [FILES]
    assert place.column("SELECT count(*) FROM annotations") == [FILES]
    assert root["events_seen"] > 0


@pytest.mark.skipif(not QUEUE.exists(), reason="there is no inotify on this system")
def test_what_comes_after_an_overflow_is_rescued(lite_place: Workplace) -> None:
    lite_place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.5, "rescan_seconds": 10_000}]
    with watching(lite_place) as watch:
        # What the start scan finds is not rescued, it is simply found.
        watch.wait_for("SELECT count(*) FROM roots WHERE scanned_at IS NOT NULL", 1)
        watch.process.send_signal(signal.SIGSTOP)
        for number in range(int(QUEUE.read_text()) // 2):
            path = lite_place.inbox / f"{number}.part"
            path.touch()  # three events with its end, none of which needs a look
            path.unlink()
        brought = arrivals.flood(lite_place.inbox, 300, 20)
        watch.process.send_signal(signal.SIGCONT)
        watch.wait_for("SELECT count(*) FROM files", 300)
        watch.wait_for("SELECT count(*) FROM jobs WHERE state <> 'done'", 0)
        watch.wait_for("SELECT rescued FROM roots", 300)
        code, said = watch.stop()
    assert code == 0
    assert "events were lost" in said
    assert lite_place.column("SELECT events_lost > 0 FROM roots") == [True]
    assert set(lite_place.column("SELECT sha256 FROM files")) == set(
        arrivals.sha256_by_path(brought).values()
    )
