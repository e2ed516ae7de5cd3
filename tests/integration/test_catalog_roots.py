"""What the keepers of roots say, and what is added up."""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, Catalog

from enrich.catalog import report, roots

LATER = NOW + dt.timedelta(minutes=1)

#: As large as a device's number may be.
DEVICE = (1 << 64) - 1


def said(path: str = "/pictures", **facts: Any) -> roots.RootReport:
    plain = {"state": "online", "reason": None, "mode": "events", "device": DEVICE, "owner": "one"}
    counted = {
        "folders": 3,
        "watches": 3,
        "scanned_at": NOW,
        "events_seen": 5,
        "events_lost": 1,
        "rescued": 2,
    }
    return roots.RootReport(Path(path), **{**plain, **counted, **facts})


def shown(catalog: Catalog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report.status(catalog.engine)["roots"]
    return found


def test_counts_are_added_and_the_rest_is_what_was_said_last(catalog: Catalog) -> None:
    catalog.write(roots.record, said(), NOW)
    catalog.write(roots.record, said(mode="poll", watches=None, owner="two", rescued=0), LATER)
    assert shown(catalog) == [
        {
            "path": "/pictures",
            "state": "online",
            "reason": None,
            "mode": "poll",
            "owner": "two",
            "folders": 3,
            "watches": None,
            "events_seen": 10,
            "events_lost": 2,
            "rescued": 2,
            "scanned_at": NOW,
            "updated_at": LATER,
        }
    ]


def test_a_root_that_went_away_is_remembered_as_it_was(catalog: Catalog) -> None:
    """A daemon that starts while a root is away has never seen it."""
    catalog.write(roots.record, said(), NOW)
    away = {"state": "offline", "reason": "is not there", "mode": None, "watches": None}
    catalog.write(roots.record, said(**away, device=None, folders=None, scanned_at=None), LATER)
    (root,) = shown(catalog)
    assert (root["state"], root["reason"], root["mode"]) == ("offline", "is not there", None)
    assert (root["folders"], root["watches"], root["scanned_at"]) == (3, None, NOW)
    with catalog.engine.connect() as connection:
        assert roots.last_device(connection, Path("/pictures")) == DEVICE
        assert roots.offline(connection) == ["/pictures"]
    catalog.write(roots.record, said(device=7), LATER)
    with catalog.engine.connect() as connection:
        assert roots.last_device(connection, Path("/pictures")) == 7
        assert roots.last_device(connection, Path("/elsewhere")) is None
        assert roots.offline(connection) == []
    assert shown(catalog)[0]["reason"] is None


def test_each_root_has_a_row_of_its_own_whatever_its_name(catalog: Catalog) -> None:
    names = ["/b", "/a\\b", "/caf\udce9"]
    for name in names:
        catalog.write(roots.record, said(name, state="offline", reason="is not there"), NOW)
    with catalog.engine.connect() as connection:
        assert roots.offline(connection) == sorted(["/b", "/a\\\\b", "/caf\\xe9"])


def test_only_its_owner_releases_a_root(catalog: Catalog) -> None:
    catalog.write(roots.record, said(), NOW)
    catalog.write(roots.release, Path("/pictures"), "two", LATER)
    assert (shown(catalog)[0]["owner"], shown(catalog)[0]["updated_at"]) == ("one", NOW)
    catalog.write(roots.release, Path("/pictures"), "one", LATER)
    assert (shown(catalog)[0]["owner"], shown(catalog)[0]["updated_at"]) == (None, LATER)
    assert shown(catalog)[0]["state"] == "online"


def test_whoever_sees_a_root_ends_its_absence(catalog: Catalog) -> None:
    for path in ("/pictures", "/other"):
        catalog.write(roots.record, said(path, state="offline", reason="is not there"), NOW)
    catalog.write(roots.see, Path("/pictures"))
    catalog.write(roots.see, Path("/unknown"))
    assert [(root["path"], root["state"], root["reason"]) for root in shown(catalog)] == [
        ("/other", "offline", "is not there"),
        ("/pictures", "online", None),
    ]


@pytest.mark.parametrize("wrong", [{"state": "away"}, {"mode": "luck"}])
def test_no_other_words_are_taken(catalog: Catalog, wrong: dict[str, str]) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        catalog.write(roots.record, dataclasses.replace(said(), **wrong), NOW)  # type: ignore[arg-type]  # wrong on purpose
