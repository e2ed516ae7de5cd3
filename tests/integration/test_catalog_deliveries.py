"""The outbox of webhooks: at least once, late rather than never, and no token kept for longer than needed."""

import datetime as dt
import multiprocessing
from typing import Any

import pytest
from catalog_kit import NOW, Catalog

from enrich.catalog import deliveries
from enrich.catalog.engine import create_engine, writing

URL = "https://user:pass@example.org:8443/hook/a?token=secret&x=1#part"


def add(catalog: Catalog, body: str = "{}", **facts: Any) -> int:
    return catalog.write(deliveries.add, **{"url": URL, "body": body, "now": NOW, **facts})


def claim(
    catalog: Catalog, now: dt.datetime = NOW, limit: int = 10, lease_seconds: float = 60
) -> list[deliveries.DeliveryRow]:
    return catalog.write(deliveries.claim, limit=limit, now=now, lease_seconds=lease_seconds)


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def test_what_is_handed_over_is_due_at_once_and_in_order(catalog: Catalog) -> None:
    late = add(catalog, "late", now=after(5))
    first, second = add(catalog, "first ✓\n"), add(catalog, "second")
    assert catalog.write(deliveries.next_at) == NOW
    taken = claim(catalog, limit=1)
    assert [(row.id, row.body, row.url, row.host, row.attempts) for row in taken] == [
        (first, "first ✓\n", URL, "example.org", 1)
    ]
    assert [row.id for row in claim(catalog)] == [second]
    assert claim(catalog) == []
    assert [row.id for row in claim(catalog, after(5))] == [late]
    assert catalog.write(deliveries.next_at) == after(60)


def test_a_courier_that_died_costs_time_and_no_delivery(catalog: Catalog) -> None:
    delivery = add(catalog)
    (first,) = claim(catalog, lease_seconds=30)
    assert claim(catalog, after(29.9)) == []
    (second,) = claim(catalog, after(30))
    assert (second.id, second.attempts) == (delivery, 2)
    # The first one lives after all: what it found out is not the latest attempt's.
    for outcome in (
        catalog.write(deliveries.later, first.id, first.attempts, after(99), "no"),
        catalog.write(deliveries.given_up, first.id, first.attempts, after(31), "no"),
        catalog.write(deliveries.delivered, first.id, first.attempts, after(31)),
    ):
        assert not outcome
    assert catalog.write(deliveries.delivered, second.id, second.attempts, after(32))
    assert not catalog.write(deliveries.delivered, second.id, second.attempts, after(33))
    assert catalog.rows("SELECT state, attempts, error FROM webhooks") == [
        {"state": "delivered", "attempts": 2, "error": None}
    ]


def test_tried_again_later_until_it_arrives(catalog: Catalog) -> None:
    add(catalog)
    (first,) = claim(catalog)
    assert catalog.write(deliveries.later, first.id, 1, after(10), "HTTP 503")
    assert catalog.write(deliveries.next_at) == after(10)
    assert claim(catalog, after(9)) == []
    (second,) = claim(catalog, after(10))
    assert (second.attempts, second.error, second.url) == (2, "HTTP 503", URL)
    assert catalog.write(deliveries.delivered, second.id, 2, after(11))
    assert catalog.write(deliveries.next_at) is None
    assert claim(catalog, after(1e6)) == []
    (row,) = catalog.rows("SELECT * FROM deliveries")
    assert (row["error"], row["body"], row["failed_at"]) == (None, "{}", None)


@pytest.mark.parametrize("outcome", ["delivered", "given_up"])
def test_the_token_goes_with_the_end(catalog: Catalog, outcome: str) -> None:
    add(catalog)
    (row,) = claim(catalog)
    assert "secret" not in repr(row)
    more = ("HTTP 410",) if outcome == "given_up" else ()
    assert catalog.write(getattr(deliveries, outcome), row.id, 1, NOW, *more)
    assert catalog.column("SELECT url FROM deliveries") == ["https://example.org:8443/hook/a"]
    (shown,) = catalog.rows("SELECT * FROM webhooks")
    assert (shown["host"], shown["error"]) == ("example.org", more[0] if more else None)
    assert (shown["state"], shown["next_at"]) == ("failed" if more else "delivered", None)


def test_the_view_shows_no_address_before_the_end_either(catalog: Catalog) -> None:
    add(catalog)
    (shown,) = catalog.rows("SELECT * FROM webhooks")
    assert (shown["state"], shown["host"], shown["key_name"]) == ("pending", "example.org", None)
    assert "secret" not in repr(shown)
    assert "pass" not in repr(shown)


@pytest.mark.parametrize(
    ("url", "rest"),
    [
        (URL, "https://example.org:8443/hook/a"),
        ("http://[::1]:80/?a", "http://[::1]:80/"),
        ("https://a@b@example.org", "https://example.org"),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_an_address_without_its_secrets(url: str, rest: str) -> None:
    assert deliveries.without_secrets(url) == rest


def test_an_address_that_is_none_can_still_be_given_up(catalog: Catalog) -> None:
    add(catalog, url="http://[")
    (row,) = claim(catalog)
    assert row.host == ""
    assert catalog.write(deliveries.given_up, row.id, 1, NOW, "no address")
    assert catalog.column("SELECT url FROM deliveries") == [""]


def test_only_what_has_ended_expires(catalog: Catalog) -> None:
    for _ in range(4):
        add(catalog)
    first, second, third, _ = claim(catalog, limit=4)
    catalog.write(deliveries.delivered, first.id, 1, after(10))
    catalog.write(deliveries.given_up, second.id, 1, after(10), "gone")
    catalog.write(deliveries.delivered, third.id, 1, after(20))
    assert catalog.write(deliveries.expire, after(10)) == 0
    assert catalog.write(deliveries.expire, after(11)) == 2
    assert catalog.write(deliveries.expire, after(1e6)) == 1
    assert catalog.column("SELECT count(*) FROM deliveries") == [1]


def _claim_all(url: str, taken: Any) -> None:
    engine = writing(create_engine(url))
    while True:
        with engine.begin() as connection:
            rows = deliveries.claim(connection, limit=3, now=NOW, lease_seconds=60)
        if not rows:
            break
        for row in rows:
            taken.put(row.id)
    taken.put(None)


def test_two_couriers_never_take_the_same(catalog: Catalog) -> None:
    wanted = [add(catalog) for _ in range(40)]
    url = catalog.engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    couriers = [context.Process(target=_claim_all, args=(url, taken)) for _ in range(2)]
    for courier in couriers:
        courier.start()
    found: list[int] = []
    ended = 0
    while ended < len(couriers):
        delivery = taken.get(timeout=60)
        ended += delivery is None
        found.extend([] if delivery is None else [delivery])
    for courier in couriers:
        courier.join(60)
    assert sorted(found) == wanted
