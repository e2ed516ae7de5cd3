"""Pausing the whole catalog, and going on."""

import datetime as dt
import json

from catalog_kit import NOW, Catalog, file, step
from workplace import Workplace

from enrich.catalog import control

LATER = NOW + dt.timedelta(minutes=1)


def paused_at(catalog: Catalog) -> dt.datetime | None:
    with catalog.engine.connect() as connection:
        return control.paused_at(connection)


def test_paused_until_resumed(catalog: Catalog) -> None:
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"))
    assert paused_at(catalog) is None
    assert catalog.write(control.pause, NOW) is True
    assert catalog.write(control.pause, LATER) is False
    assert paused_at(catalog) == NOW, "since the first time"
    assert catalog.claim() == []
    catalog.ingest(file("b.png", "two"))
    assert catalog.write(control.resume) is True
    assert catalog.write(control.resume) is False
    assert paused_at(catalog) is None
    assert len(catalog.claim()) == 2
    assert catalog.write(control.pause, LATER) is True
    assert paused_at(catalog) == LATER


def test_pause_and_resume_say_since_when_and_how_much_waits(place: Workplace) -> None:
    place.config["steps"] = {"light": {"plugin": "light"}, "again": {"plugin": "light"}}
    done = place.enrich("pause")
    assert (done.returncode, done.stdout) == (0, "paused; 0 jobs wait until: enrich resume\n"), done.stderr
    place.draw_many(3)
    assert place.run().files["present"] == 3, "files are taken in"
    assert place.states("jobs") == {"pending": 6}

    done = place.enrich("pause")
    assert done.stdout.startswith("paused already, since 2")
    assert "6 jobs wait" in done.stdout
    shown = json.loads(place.enrich("pause", "--json").stdout)
    assert (shown["changed"], shown["waiting"]) == (False, 6)
    assert dt.datetime.fromisoformat(shown["paused_at"]) < dt.datetime.now(dt.UTC)

    done = place.enrich("resume")
    assert done.stdout.startswith("resumed after ")
    assert "6 jobs wait" in done.stdout
    assert place.run().jobs == {"done": 6}
    assert place.enrich("resume").stdout == "was not paused; 0 jobs wait\n"
    assert json.loads(place.enrich("resume", "--json").stdout) == {
        "paused_at": None,
        "changed": False,
        "waiting": 0,
    }
