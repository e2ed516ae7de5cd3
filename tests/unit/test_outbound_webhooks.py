"""Webhooks are signed, and a courier posts until they arrive, whatever the receivers do."""

import dataclasses
import datetime as dt
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from outside import Receiver, Request, free_port, response, site

from enrich.errors import CatalogBusy, FetchFailed
from enrich.outbound import Courier, Delivery, Poster, sign
from enrich.outbound import courier as couriers
from enrich.outbound.courier import GIVE_UP_AFTER, MAX_THREADS, pause_seconds
from enrich.outbound.pauses import LONGEST_SECONDS, MAX_REMEMBERED, Pauses
from enrich.outbound.webhooks import TOTAL_SECONDS


@dataclasses.dataclass
class Row:
    id: int
    url: str
    body: str
    attempts: int = 0
    created_at: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    next_at: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    ended: str = ""
    errors: list[str] = dataclasses.field(default_factory=list)


class Kept:
    """Deliveries in memory, which a courier takes as the catalog's; delays are ``speed`` times shorter."""

    def __init__(self, *rows: Row, speed: float = 1000) -> None:
        self.rows = {row.id: row for row in rows}
        self.is_away = False
        self.claimed = 0
        self.most = 0
        self._speed = speed
        self._lock = threading.Lock()

    def claim(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        now = dt.datetime.now(dt.UTC)
        with self._lock:
            if self.is_away:
                raise CatalogBusy("the database is restarting")
            due = [row for row in self.rows.values() if not row.ended and row.next_at <= now]
            due = sorted(due, key=lambda row: row.next_at)[:limit]
            for row in due:
                row.attempts += 1
                row.next_at = now + dt.timedelta(seconds=lease_seconds)
            self.claimed += len(due)
            self.most = max(self.most, self.claimed)
            return [dataclasses.replace(row) for row in due]

    def delivered(self, delivery: Delivery) -> None:
        self._end(delivery, "delivered")

    def given_up(self, delivery: Delivery, error: str) -> None:
        self._end(delivery, "given up", error)

    def later(self, delivery: Delivery, next_at: dt.datetime, error: str) -> None:
        with self._lock:
            row = self.rows[delivery.id]
            row.next_at = dt.datetime.now(dt.UTC) + (next_at - dt.datetime.now(dt.UTC)) / self._speed
            row.errors.append(error)
            self.claimed -= 1

    def _end(self, delivery: Delivery, how: str, error: str = "") -> None:
        with self._lock:
            row = self.rows[delivery.id]
            row.ended = how
            row.errors.append(error)
            self.claimed -= 1

    def states(self) -> set[str]:
        return {row.ended for row in self.rows.values()}


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No receiver is left alone for longer than a test takes."""
    monkeypatch.setattr("enrich.outbound.pauses.FIRST_SECONDS", 0.02)
    monkeypatch.setattr("enrich.outbound.pauses.LONGEST_SECONDS", 0.05)


def courier(kept: Kept, *allow_hosts: str, seconds: float = 10, threads: int = MAX_THREADS) -> Courier:
    poster = Poster(allow_hosts, "s3cret", total_seconds=seconds)
    return Courier(kept, poster.post, idle_seconds=0.02, threads=threads)


# One post


def test_a_signature_is_what_the_documentation_says() -> None:
    digest = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert sign("key", 1_700_000_000, b'{"a":1}') == f"t=1700000000,v1={digest}"
    # Source: computed with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key`.
    assert digest == "a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"


def test_what_a_receiver_sees() -> None:
    with site(lambda request: response(status="200 OK")) as server:
        poster = Poster([server.address], "s3cret", clock=lambda: 1_700_000_000.9)
        assert poster.post(server.url("/hook?token=t%2F1&a=b c"), '{"é":1}', 7) == 200
        (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/hook?token=t%2F1&a=b%20c")
    assert request.body == '{"é":1}'.encode()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-enrich-delivery"] == "7"
    assert request.headers["x-enrich-signature"] == sign("s3cret", 1_700_000_000, request.body)


def test_without_a_secret_nothing_is_signed_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with site(lambda request: response()) as server:
        poster = Poster([server.address])
        for number in range(3):
            poster.post(server.url(), "{}", number)
        assert all("x-enrich-signature" not in request.headers for request in server.requests)
    assert [record.getMessage() for record in caplog.records] == [
        "webhooks are posted without a signature: ENRICH_WEBHOOK_SECRET is not set"
    ]


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with site(lambda request: response()) as other:
        with site(lambda request: response(status="307 T", Location=other.url())) as server:
            assert Poster(["127.0.0.1"]).post(server.url(), "{}", 1) == 307
        assert other.connections == 0


def test_a_receiver_that_never_answers_is_left() -> None:
    silent = threading.Event()

    def hang(request: Request) -> Sequence[bytes]:
        silent.wait(60)
        return ()

    with site(hang) as server:
        with pytest.raises(FetchFailed) as failed:
            Poster([server.address], total_seconds=0.3).post(server.url("/?token=secret"), "{}", 1)
        silent.set()
    assert "secret" not in str(failed.value)


# When the next try is


def test_tries_become_rarer_and_end_after_about_a_day() -> None:
    waited = [-5, 0, 10, 60, 600, 3600, 14_400, 80_000]
    assert [pause_seconds(seconds, 0.5) for seconds in waited] == [5, 5, 5, 30, 300, 1800, 7200, 7200]
    assert pause_seconds(60, 0.0) == 22.5
    assert pause_seconds(60, 1.0) == 37.5
    elapsed, tries = 0.0, 0
    while elapsed < GIVE_UP_AFTER.total_seconds():
        tries += 1
        elapsed += pause_seconds(elapsed, 0.5)
    assert 20 <= tries <= 40


def test_a_receiver_that_is_away_is_left_alone_for_longer_and_longer() -> None:
    now = 0.0
    pauses = Pauses(lambda: now)
    assert pauses.left("http://a") == 0
    seen = []
    for _ in range(9):
        pauses.failed("http://a")
        pauses.failed("http://a")  # a try that ran beside it
        seen.append(pauses.left("http://a"))
        now += seen[-1]
    assert seen == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pauses.left("http://b") == 0
    pauses.failed("http://a")
    pauses.answered("http://a")
    assert pauses.left("http://a") == 0
    assert max(seen) == LONGEST_SECONDS


def test_receivers_are_not_remembered_without_end() -> None:
    pauses = Pauses(lambda: 0.0)
    for number in range(3 * MAX_REMEMBERED):
        pauses.failed(f"http://{number}")
    assert len(pauses._failed) == MAX_REMEMBERED
    assert pauses.left(f"http://{3 * MAX_REMEMBERED - 1}") > 0


# The courier


def test_all_arrive_signed(quick: None) -> None:
    receiver = Receiver()
    with site(receiver) as server:
        kept = Kept(*(Row(number, server.url(), f'{{"n":{number}}}') for number in range(100)))
        some = courier(kept, server.address)
        some.start()
        until(lambda: kept.states() == {"delivered"})
        some.stop()
    assert len(receiver.received) == 100
    assert all(one.is_signed and abs(one.at - time.time()) < 300 for one in receiver.received)
    assert {one.body.decode() for one in receiver.received} == {row.body for row in kept.rows.values()}
    assert kept.most <= couriers.CLAIMED + MAX_THREADS


def test_a_receiver_that_is_down_gets_all_when_it_is_back(quick: None) -> None:
    port = free_port()
    kept = Kept(*(Row(number, f"http://127.0.0.1:{port}/", "{}") for number in range(50)))
    some = courier(kept, "127.0.0.1")
    some.start()
    until(lambda: sum(bool(row.errors) for row in kept.rows.values()) >= 20)
    receiver = Receiver()
    with site(receiver, port=port):
        until(lambda: kept.states() == {"delivered"})
    some.stop()
    assert {one.id for one in receiver.received} == {str(number) for number in range(50)}
    errors = {error for row in kept.rows.values() for error in row.errors}
    assert errors <= {f"http://127.0.0.1:{port} does not answer", ""}


def test_one_that_answers_500_first_gets_it_again_and_only_then_it_is_delivered(quick: None) -> None:
    receiver = Receiver(status="500 Bug")
    with site(receiver) as server:
        kept = Kept(Row(1, server.url(), "{}"))
        some = courier(kept, server.address)
        some.start()
        until(lambda: len(receiver.received) >= 3)
        assert kept.states() == {""}
        receiver.status = "200 OK"
        until(lambda: kept.states() == {"delivered"})
        some.stop()
    assert kept.rows[1].errors[0] == f"http://{server.address} answered 500"
    assert len({one.id for one in receiver.received}) == 1
    assert kept.rows[1].attempts == len(receiver.received)


def test_redirects_are_not_followed_and_tried_again(quick: None) -> None:
    with site(Receiver()) as other:
        receiver = Receiver(status="302 Found", location=other.url())
        with site(receiver) as server:
            kept = Kept(Row(1, server.url(), "{}"))
            some = courier(kept, "127.0.0.1")
            some.start()
            until(lambda: len(receiver.received) >= 3)
            some.stop()
        assert other.connections == 0
    assert kept.rows[1].ended == ""
    assert "answered 302; webhooks follow no redirect" in kept.rows[1].errors[0]


def test_a_slow_receiver_does_not_hold_up_the_others(quick: None) -> None:
    go = threading.Event()
    slow = Receiver(before=lambda: bool(go.wait(60)) and None)
    quickly = Receiver()
    with site(slow) as tarpit, site(quickly) as server:
        rows = [Row(number, tarpit.url(), "{}") for number in range(20)]
        rows += [Row(number, server.url(), "{}") for number in range(20, 40)]
        kept = Kept(*rows)
        some = courier(kept, "127.0.0.1", seconds=0.2)
        some.start()
        until(lambda: len({one.id for one in quickly.received}) == 20)
        assert tarpit.connections < 200
        go.set()
        until(lambda: kept.states() == {"delivered"})
        some.stop()


def test_those_of_a_receiver_that_is_away_are_put_off_without_a_try() -> None:
    posted: list[int] = []

    def post(url: str, body: str, delivery_id: int) -> int:
        posted.append(delivery_id)
        raise FetchFailed("http://example.org does not answer", retryable=True)

    kept = Kept(*(Row(number, "http://example.org/", "{}") for number in range(200)), speed=0.001)
    some = Courier(kept, post, idle_seconds=0.01)
    some.start()
    until(lambda: all(row.errors for row in kept.rows.values()))
    some.stop()
    assert {error for row in kept.rows.values() for error in row.errors} == {
        "http://example.org does not answer"
    }
    assert 1 <= len(posted) < 100


def test_what_may_not_be_posted_is_given_up_at_once_and_said(caplog: pytest.LogCaptureFixture) -> None:
    urls = ["http://127.0.0.1:1/?token=secret", "ftp://x/", "http://a@b/", "http://[::1]/"]
    kept = Kept(*(Row(number, url, "{}") for number, url in enumerate(urls)))
    some = courier(kept)
    some.start()
    until(lambda: kept.states() == {"given up"})
    some.stop()
    assert {row.attempts for row in kept.rows.values()} == {1}
    assert caplog.text.count("is given up after 1 tries") == 4
    assert "secret" not in caplog.text + str([row.errors for row in kept.rows.values()])


def test_a_receiver_that_wants_no_more_and_one_that_failed_for_a_day(quick: None) -> None:
    long_ago = dt.datetime.now(dt.UTC) - GIVE_UP_AFTER - dt.timedelta(seconds=1)
    gone, failing = Receiver(status="410 Gone"), Receiver(status="500 Bug")
    with site(gone) as one, site(failing) as other:
        kept = Kept(Row(1, one.url(), "{}"), Row(2, other.url(), "{}", created_at=long_ago))
        some = courier(kept, "127.0.0.1")
        some.start()
        until(lambda: kept.states() == {"given up"})
        some.stop()
    assert len(gone.received) == len(failing.received) == 1  # the old one has got its last try


def test_the_catalog_may_be_away(quick: None, caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    with site(receiver) as server:
        kept = Kept(Row(1, server.url(), "{}"))
        kept.is_away = True
        some = courier(kept, server.address)
        some.start()
        until(lambda: "cannot be had" in caplog.text)
        time.sleep(0.2)
        assert caplog.text.count("cannot be had") == 1
        kept.is_away = False
        until(lambda: kept.states() == {"delivered"})
        some.stop()


def test_what_could_not_be_recorded_comes_again(quick: None) -> None:
    class Forgetful(Kept):
        def claim(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
            return super().claim(limit, 0.05)

        def delivered(self, delivery: Delivery) -> None:
            if self.rows[delivery.id].attempts < 3:
                raise CatalogBusy("the database is restarting")
            super().delivered(delivery)

    receiver = Receiver()
    with site(receiver) as server:
        kept = Forgetful(Row(1, server.url(), "{}"))
        some = courier(kept, server.address)
        some.start()
        until(lambda: kept.states() == {"delivered"})
        some.stop()
    assert [one.id for one in receiver.received[:3]] == ["1", "1", "1"]


def test_a_bug_costs_one_delivery_a_try_and_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    posted: list[int] = []

    def post(url: str, body: str, delivery_id: int) -> int:
        if delivery_id == 1:
            raise ZeroDivisionError("a bug")
        posted.append(delivery_id)
        return 200

    kept = Kept(*(Row(number, "http://example.org/", "{}") for number in range(20)), speed=0.001)
    some = Courier(kept, post, idle_seconds=0.01)
    some.start()
    until(lambda: len(posted) == 19 and kept.rows[1].errors)
    assert some.is_alive
    some.stop()
    assert kept.rows[1].errors == ["a bug; the log has it"]
    assert "ZeroDivisionError" in caplog.text


# Its life


def test_stopping_does_not_wait_for_a_slow_receiver_and_gives_back_what_was_not_begun() -> None:
    go, begun = threading.Event(), threading.Event()

    def post(url: str, body: str, delivery_id: int) -> int:
        begun.set()
        go.wait(60)
        return 200

    kept = Kept(*(Row(number, "http://example.org/", "{}") for number in range(50)), speed=1)
    some = Courier(kept, post, idle_seconds=0.01, threads=1)
    some.start()
    assert begun.wait(30)
    started = time.monotonic()
    some.stop(0.3)
    assert time.monotonic() - started < 20
    assert kept.claimed == couriers.CLAIMED > 1
    go.set()  # the try that was begun ends late, and what became of it is recorded
    until(lambda: kept.claimed == 0)
    assert sum(row.ended == "delivered" for row in kept.rows.values()) == 1
    returned = [row for row in kept.rows.values() if row.errors == ["the courier was stopped"]]
    assert len(returned) == couriers.CLAIMED - 1
    assert all(row.next_at <= dt.datetime.now(dt.UTC) for row in returned)


def test_finishing_posts_what_is_due_and_no_more(quick: None) -> None:
    receiver = Receiver()
    with site(receiver) as server:
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        kept = Kept(
            *(Row(number, server.url(), "{}") for number in range(30)),
            Row(30, server.url(), "{}", next_at=soon),
        )
        some = courier(kept, server.address)
        some.start()
        some.finish(60)
    assert len(receiver.received) == 30
    assert sum(row.ended == "delivered" for row in kept.rows.values()) == 30


def test_finishing_with_nothing_to_do_is_quick_and_so_is_one_that_never_began() -> None:
    some = courier(Kept())
    some.start()
    some.start()
    started = time.monotonic()
    some.finish(60)
    courier(Kept()).finish(60)
    courier(Kept()).stop(60)
    assert time.monotonic() - started < 30


def test_threads_are_few_and_end() -> None:
    before = threading.active_count()
    some = courier(Kept())
    assert threading.active_count() == before
    some.start()
    assert threading.active_count() == before + MAX_THREADS
    assert 2 * TOTAL_SECONDS < couriers.LEASE_SECONDS
    assert couriers.CLAIMED <= MAX_THREADS
    some.stop()
    until(lambda: threading.active_count() == before)
    some.start()
    assert threading.active_count() == before
