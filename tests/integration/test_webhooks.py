"""Webhooks of folder assets, from the catalog to a real receiver: at least once, whoever is away."""

import datetime as dt
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import Catalog, file, said, step
from outside import Receiver, Site, free_port, site
from watching import watching
from workplace import Workplace

from enrich import settings
from enrich.catalog import deliveries
from enrich.catalog.writer import Writer
from enrich.errors import CatalogError, ConfigError, FetchRefused
from enrich.outbound import Courier, Poster
from enrich.outbox import CatalogDeliveries, CatalogOutbox, make_courier

SECRET = {"ENRICH_WEBHOOK_SECRET": "s3cret"}


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def told(receiver: Receiver, event: str) -> list[dict[str, Any]]:
    """What a receiver was told of, without what came twice."""
    bodies = {one.id: json.loads(one.body) for one in receiver.received}
    return [body for body in bodies.values() if body["event"] == event]


def subscribe(place: Workplace, server: Site | int, **entry: Any) -> None:
    port = server if isinstance(server, int) else server.port
    url = f"http://127.0.0.1:{port}/hook?token=t0ken"
    place.config["webhooks"] = [{"url": url, **entry}]
    place.config["api"] = {"allow_hosts": [f"127.0.0.1:{port}"]}


def run(place: Workplace, **options: Any) -> subprocess.CompletedProcess[str]:
    return place.enrich("run", **{"env": {**os.environ, **SECRET}, **options})


# Through the command line


def test_a_run_tells_of_new_assets_and_of_what_was_said_of_them(place: Workplace) -> None:
    paths = {str(path) for path in place.draw_many(12)}
    receiver = Receiver()
    with site(receiver) as server:
        subscribe(place, server, events=["ingested", "annotated"])
        done = run(place)
        assert done.returncode == 0, done.stderr
        ingested, annotated = told(receiver, "ingested"), told(receiver, "annotated")
        assert {body["path"] for body in ingested} == paths
        assert {body["path"] for body in annotated} == paths
        assert len(ingested) == len(annotated) == 12
        assert all(one.is_signed and abs(one.at - time.time()) < 300 for one in receiver.received)
        assert {request.path for request in server.requests} == {"/hook?token=t0ken"}

        received = len(receiver.received)
        assert run(place).returncode == 0
        assert len(receiver.received) == received, "nothing was new"

    one = annotated[0]
    assert set(one) == {"event", "at", "asset_id", "step", "path", "annotations"}
    assert dt.datetime.fromisoformat(one["at"]).tzinfo is not None
    (annotation,) = one["annotations"]
    found = place.rows(f"SELECT text, data FROM annotations WHERE asset_id = {one['asset_id']}")[0]
    assert (annotation["kind"], annotation["text"]) == ("tags", found["text"])
    assert (one["step"], annotation["item"], annotation["page"], annotation["is_empty"]) == (
        "light",
        "",
        0,
        False,
    )

    assert place.column("SELECT DISTINCT state FROM webhooks") == ["delivered"]
    assert "t0ken" not in done.stderr + str(place.rows("SELECT * FROM deliveries"))


def test_only_what_was_asked_for_is_told(lite_place: Workplace) -> None:
    lite_place.draw_many(3)
    lite_place.config["steps"]["other"] = {"plugin": "light"}
    receiver = Receiver()
    with site(receiver) as server:
        subscribe(lite_place, server, steps=["other"])
        assert run(lite_place).returncode == 0
    assert {body["step"] for body in told(receiver, "annotated")} == {"other"}
    assert (len(told(receiver, "annotated")), len(told(receiver, "ingested"))) == (3, 0)


def test_a_run_ends_though_nobody_listens_and_the_next_one_delivers(lite_place: Workplace) -> None:
    lite_place.draw_many(3)
    port = free_port()
    subscribe(lite_place, port)
    assert run(lite_place).returncode == 0
    rows = lite_place.rows("SELECT state, attempts, error FROM webhooks")
    assert [row["state"] for row in rows] == ["pending"] * 3
    assert all(row["attempts"] >= 1 for row in rows)
    assert {row["error"] for row in rows} == {f"http://127.0.0.1:{port} does not answer"}

    with lite_place.engine.begin() as connection:  # the pause after the first try is over
        connection.execute(sa.text("UPDATE deliveries SET next_at = created_at"))
    receiver = Receiver()
    with site(receiver, port=port):
        assert run(lite_place).returncode == 0
    assert len(told(receiver, "annotated")) == 3


#: The product waits half a minute for who holds a delivery, and hours for a receiver.
SOON = {
    "enrich.outbound.courier.LEASE_SECONDS": 5,
    "enrich.outbound.courier.LONGEST_SECONDS": 2,
    "enrich.outbound.courier.SHORTEST_SECONDS": 1,
    "enrich.outbound.pauses.LONGEST_SECONDS": 2,
}


def test_a_daemon_is_killed_and_the_receiver_is_down_for_a_while_and_none_is_missing(
    lite_place: Workplace,
) -> None:
    port = free_port()
    subscribe(lite_place, port)
    lite_place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.05}]
    with watching(lite_place, environment=SECRET, constants=SOON) as daemon:
        lite_place.draw_many(40)
        daemon.wait_for("SELECT count(*) FROM webhooks WHERE attempts > 0 OR state = 'pending'", 40)
        daemon.wait_until(lambda: bool(lite_place.column("SELECT id FROM deliveries WHERE attempts > 0")))
        daemon.stop(signal.SIGKILL)
    receiver = Receiver(status="503 Later")
    with site(receiver, port=port), watching(lite_place, environment=SECRET, constants=SOON) as daemon:
        daemon.wait_until(lambda: len(receiver.received) >= 5)
        receiver.status = "200 OK"
        daemon.wait_for("SELECT count(*) FROM webhooks WHERE state = 'delivered'", 40, seconds=100)
        code, errors = daemon.stop()
        assert code == 0, errors
    assert {body["asset_id"] for body in told(receiver, "annotated")} == set(
        lite_place.column("SELECT id FROM assets")
    )
    assert all(one.is_signed for one in receiver.received)
    assert "t0ken" not in errors


def test_a_receiver_that_hangs_keeps_no_daemon_from_ending(lite_place: Workplace) -> None:
    silent = Receiver(before=lambda: time.sleep(60))
    with site(silent) as server:
        subscribe(lite_place, server)
        lite_place.config["roots"] = [{"path": "inbox", "settle_seconds": 0.05}]
        with watching(lite_place, environment=SECRET) as daemon:
            lite_place.draw_many(10)
            daemon.wait_for("SELECT count(*) FROM webhooks", 10)
            daemon.wait_until(lambda: server.connections > 0)
            started = time.monotonic()
            code, errors = daemon.stop(seconds=40)
    assert code == 0, errors
    assert time.monotonic() - started < 30
    assert lite_place.column("SELECT DISTINCT state FROM webhooks") == ["pending"]


WRONG = [
    ({"url": "ftp://x/?t=t0ken"}, "url: only http and https URLs are fetched"),
    ({"url": "http://127.0.0.1/?t=t0ken"}, "url: http://127.0.0.1 is at no public address"),
    ({"url": "http://x.org:81/?t=t0ken"}, "url: http://x.org:81: its port is closed"),
    ({"url": "http://x.org/?t=t0ken", "steps": ["lihgt"]}, "steps: no step lihgt; the steps are: light"),
    ({"url": "http://x.org/", "events": ["deleted"]}, "events.0: "),
    ({"url": "http://x.org/", "secret": "t0ken"}, "secret: unknown key"),
]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"webhooks": [entry]}, f"webhooks.0.{message}") for entry, message in WRONG),
        ({"api": {"allow_hosts": ["10.0.0.0/8"]}}, "api.allow_hosts: '10.0.0.0/8' is no host"),
    ],
)
def test_what_is_wrong_is_said_before_anything_begins(
    lite_place: Workplace, change: dict[str, Any], message: str
) -> None:
    lite_place.config |= change
    done = run(lite_place)
    assert done.returncode == 2
    assert message in done.stderr
    assert "t0ken" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_of_ones_own_may_hand_over_what_it_likes(lite_place: Workplace) -> None:
    receiver = Receiver()
    with site(receiver) as server:
        lite_place.config["api"] = {"allow_hosts": [server.address]}
        lite_place.plugin(
            "chatty",
            "import enrich\n\n@enrich.hookimpl\ndef enrich_annotated(asset_id, step, outbox):\n"
            f"    outbox.deliver({server.url('/mine')!r}, {{'said': [asset_id, step]}})\n"
            "    outbox.deliver('http://10.0.0.1/', {'said': 'never'})\n",
        )
        lite_place.draw_many(2)
        done = run(lite_place)
        assert done.returncode == 0, done.stderr
    assert [json.loads(one.body)["said"][1] for one in receiver.received] == ["light", "light"]
    assert "http://10.0.0.1 is at no public address" in done.stderr


# The catalog's side


@pytest.fixture
def writer(engine: sa.Engine) -> Any:
    writer = Writer(engine)
    yield writer
    writer.close()


def loaded(folder: Path, **config: Any) -> settings.Settings:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"steps": {"a": {"plugin": "a"}}, **config}))
    return settings.load(path)


def test_two_couriers_of_one_catalog_deliver_each_once_while_both_live(
    catalog: Catalog, writer: Writer
) -> None:
    receiver = Receiver()
    with site(receiver) as server:
        for number in range(100):
            catalog.write(deliveries.add, url=server.url(), body=f"{number}", now=_now())
        posting = Poster([server.address], "s3cret")
        couriers = [
            Courier(CatalogDeliveries(catalog.engine, writer), posting.post, idle_seconds=0.05)
            for _ in range(2)
        ]
        for courier in couriers:
            courier.start()
        until(lambda: catalog.column("SELECT count(*) FROM webhooks WHERE state = 'delivered'") == [100])
        for courier in couriers:
            courier.stop()
    assert sorted(int(one.body) for one in receiver.received) == list(range(100))
    assert all(one.is_signed for one in receiver.received)


def test_what_was_claimed_by_one_that_died_comes_when_its_lease_is_over(
    catalog: Catalog, writer: Writer
) -> None:
    receiver = Receiver()
    with site(receiver) as server:
        catalog.write(deliveries.add, url=server.url(), body="{}", now=_now())
        kept = CatalogDeliveries(catalog.engine, writer)
        assert len(kept.claim(10, 1.0)) == 1
        assert kept.claim(10, 1.0) == []
        courier = Courier(kept, Poster([server.address]).post, idle_seconds=0.05)
        courier.start()
        until(lambda: receiver.received)
        courier.finish(10)
    assert catalog.column("SELECT attempts FROM webhooks WHERE state = 'delivered'") == [2]


def test_what_ended_long_ago_is_forgotten(catalog: Catalog, writer: Writer) -> None:
    then = _now() - dt.timedelta(days=8)
    for days in (8, 6):
        delivery_id = catalog.write(deliveries.add, url="http://example.org/", body="{}", now=then)
        catalog.write(deliveries.claim, limit=1, now=then, lease_seconds=1)
        catalog.write(deliveries.delivered, delivery_id, 1, _now() - dt.timedelta(days=days))
    CatalogDeliveries(catalog.engine, writer).claim(1, 1.0)
    assert catalog.column("SELECT id FROM deliveries") == [2]


def test_what_a_step_says_now(catalog: Catalog, writer: Writer, tmp_path: Path) -> None:
    catalog.sync(step("a"), step("b"))
    catalog.ingest(file("b.png", "1"), file("a.png", "1"))
    (asset,) = catalog.claim()
    text = "ein Bär\u2028<&"
    catalog.finish(asset, annotations=(said("caption", text=text, language="de", confidence=0.5),))
    config = loaded(tmp_path)
    outbox = CatalogOutbox(config, catalog.engine, writer, make_courier(config, catalog.engine, writer))
    about = outbox.about(asset.id, "a")
    assert about == {
        "path": "/pictures/a.png",
        "annotations": [
            {
                "item": "", "page": 0, "kind": "caption", "text": text, "data": None, "confidence": 0.5,
                "language": "de", "is_empty": False,
            }
        ],
    }  # fmt: skip
    assert json.loads(json.dumps(about)) == about
    none = outbox.about(asset.id, "c")
    assert none is not None
    assert none["annotations"] == []
    assert outbox.about(99, "a") is None


def test_handing_over(
    catalog: Catalog, writer: Writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = loaded(tmp_path, webhooks=[{"url": "https://example.org/?t=t0ken", "steps": ["a"]}])
    outbox = CatalogOutbox(config, catalog.engine, writer, make_courier(config, catalog.engine, writer))
    (webhook,) = outbox.webhooks
    assert (webhook.wants("annotated", "a"), webhook.wants("annotated", "b")) == (True, False)
    assert not webhook.wants("ingested")
    assert "t0ken" not in repr(webhook) + repr(config)
    outbox.deliver(webhook.url, {"é": 1, "nul": "\x00", "alone": "\ud800"})
    until(lambda: catalog.column("SELECT count(*) FROM deliveries") == [1])
    body = json.loads(catalog.column("SELECT body FROM deliveries")[0])
    assert body["é"] == 1
    for url in ("http://localhost:81/", "http://[::1]/", "file:///etc/passwd"):
        with pytest.raises(FetchRefused):
            outbox.deliver(url, {})
    outbox.deliver(webhook.url, {}, asset_id=99)  # forgotten meanwhile: nothing is posted of it
    until(lambda: "a delivery could not be kept" in caplog.text)
    assert catalog.column("SELECT count(*) FROM deliveries") == [1]


def test_without_a_catalog_there_is_no_outbox() -> None:
    from enrich.observers import _NoOutbox

    outbox = _NoOutbox()
    assert (outbox.webhooks, outbox.about(1, "a")) == ((), None)
    with pytest.raises(CatalogError):
        outbox.deliver("http://example.org/", {})


def test_an_entry_that_is_no_host_is_the_configurations_fault(
    catalog: Catalog, writer: Writer, tmp_path: Path
) -> None:
    config = loaded(tmp_path, api={"allow_hosts": ["http://nas"]})
    with pytest.raises(ConfigError, match=r"api\.allow_hosts: 'http://nas' is no host"):
        make_courier(config, catalog.engine, writer)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
