"""Keys of the HTTP API: shown once, found by their secret, limited by credits that add up."""

import datetime as dt
import hashlib
import json
import multiprocessing
from typing import Any

import pytest
import sqlalchemy as sa
from catalog_kit import NOW, Catalog
from workplace import Workplace

from enrich.catalog import keys, usage
from enrich.catalog.engine import create_engine, writing
from enrich.errors import UsageError


def make(catalog: Catalog, name: str = "web", **options: Any) -> tuple[keys.KeyRow, str]:
    plain = {"scopes": ["infer"], "minute_limit": None, "hour_limit": None, "credits": None, "now": NOW}
    return catalog.write(keys.create, name, **{**plain, **options})


def test_a_key_is_found_by_its_secret_alone(catalog: Catalog) -> None:
    key, secret = make(catalog, scopes=["read", "infer"], minute_limit=7, hour_limit=70, credits=1.5)
    other, other_secret = make(catalog, "other")
    assert catalog.write(keys.find, secret) == key
    assert catalog.write(keys.find, other_secret) == other
    assert (key.scopes, key.minute_limit, key.hour_limit, key.credits) == ({"infer", "read"}, 7, 70, 1.5)
    assert secret.startswith(f"enr_{key.prefix}_")
    assert (key.created_at, key.revoked_at) == (NOW, None)


def wrong_ones(secret: str, other: str) -> list[str]:
    """What looks like a key and is none."""
    prefix = secret[: len("enr_") + 10]
    last = "A" if secret[-1] != "A" else "B"
    crossed = prefix + other[len(prefix) :]
    damaged = [secret[:-1] + last, secret[:-1], secret + "A", secret.upper(), secret + "\n", " " + secret]
    return ["", "enr_", prefix, f"{prefix}_", crossed, *damaged, "enr_%_%", "é" * 55, "\x00", secret[4:]]


def test_what_is_not_quite_a_key_opens_nothing(catalog: Catalog) -> None:
    _, secret = make(catalog)
    _, other = make(catalog, "other")
    found = [text for text in wrong_ones(secret, other) if catalog.write(keys.find, text) is not None]
    assert found == []


def test_the_catalog_holds_no_secret(catalog: Catalog) -> None:
    key, secret = make(catalog)
    (row,) = catalog.rows("SELECT * FROM api_keys")
    assert row["secret_sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    random = secret.rpartition("_")[2]
    assert random not in json.dumps(row, default=str)
    assert random not in repr(key)


def test_secrets_differ(catalog: Catalog) -> None:
    secrets = [make(catalog, str(n))[1] for n in range(20)]
    assert len({secret.rpartition("_")[2] for secret in secrets}) == 20
    assert len({len(secret) for secret in secrets}) == 1


def test_a_revoked_key_opens_nothing_and_still_keeps_the_door_shut(catalog: Catalog) -> None:
    assert not catalog.write(keys.any_configured)
    _, secret = make(catalog)
    assert catalog.write(keys.revoke, "web", NOW)
    assert not catalog.write(keys.revoke, "web", NOW + dt.timedelta(days=1))
    assert catalog.write(keys.find, secret) is None
    assert catalog.write(keys.any_configured)
    assert catalog.write(keys.listed)[0].key.revoked_at == NOW


def test_a_name_is_given_once(catalog: Catalog) -> None:
    make(catalog)
    with pytest.raises(UsageError, match="there is a key 'web' already"):
        make(catalog)
    catalog.write(keys.revoke, "web", NOW)
    with pytest.raises(UsageError, match="perhaps a revoked one"):
        make(catalog)
    assert len(catalog.write(keys.listed)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"scopes": []},
        {"scopes": ["infer", "write"]},
        {"minute_limit": 0},
        {"hour_limit": -1},
        {"credits": -0.01},
        {"credits": float("nan")},
        {"credits": float("inf")},
    ],
    ids=str,
)
def test_a_key_that_makes_no_sense_is_refused(catalog: Catalog, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(catalog, **{"name": "web", **wrong})
    assert catalog.column("SELECT count(*) FROM api_keys") == [0]


def test_credits_are_used_up_to_the_last(catalog: Catalog) -> None:
    key, _ = make(catalog, credits=0.3)
    # In binary fractions 0.3 - 0.1 - 0.1 is less than 0.1.
    assert [catalog.write(keys.charge, key.id, 0.1) for _ in range(4)] == [True, True, True, False]
    assert catalog.column("SELECT credits FROM api_keys") == [0]
    assert catalog.write(keys.charge, key.id, 0.0), "what costs nothing can be had for nothing"
    catalog.write(keys.refund, key.id, 0.1)
    assert not catalog.write(keys.charge, key.id, 0.2)
    assert catalog.write(keys.charge, key.id, 0.1)


def test_credits_are_added_and_taken_away(catalog: Catalog) -> None:
    make(catalog, credits=1)
    assert catalog.write(keys.credit, "web", 2.5).credits == 3.5
    assert catalog.write(keys.credit, "web", -3.5).credits == 0
    for name, amount, why in (
        ("web", -0.5, "has 0 credits; 0.5 cannot be taken away"),
        ("web", float("nan"), "is a number"),
        ("nobody", 1, "no key 'nobody'"),
    ):
        with pytest.raises(UsageError, match=why):
            catalog.write(keys.credit, name, amount)


def test_a_key_without_a_limit_has_always_enough(catalog: Catalog) -> None:
    key, _ = make(catalog)
    assert catalog.write(keys.charge, key.id, 1e6)
    catalog.write(keys.refund, key.id, 5)
    assert catalog.column("SELECT credits FROM api_keys") == [None]
    with pytest.raises(UsageError, match="no limit of credits"):
        catalog.write(keys.credit, "web", 1)
    assert not catalog.write(keys.charge, key.id + 1, 0.1), "nobody's credits suffice for nothing"


def _charge_often(url: str, key_id: int, times: int, granted: Any) -> None:
    engine = writing(create_engine(url))
    count = 0
    for _ in range(times):
        with engine.begin() as connection:
            count += keys.charge(connection, key_id, 1)
    granted.put(count)


def test_processes_that_charge_at_once_never_overdraw(catalog: Catalog) -> None:
    key, _ = make(catalog, credits=30)
    url = catalog.engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    granted = context.Queue()
    processes = [context.Process(target=_charge_often, args=(url, key.id, 20, granted)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = [granted.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert sum(counts) == 30
    assert catalog.column("SELECT credits FROM api_keys") == [0]


# Usage


def used(key_id: int | None, **facts: Any) -> usage.UsageRow:
    plain = {"at": NOW, "dialect": "openai", "kind": "caption", "model": "m", "status": usage.SUCCESS}
    return usage.UsageRow(key_id=key_id, **{**plain, **facts})


def test_usage_is_summed_by_key_and_day(catalog: Catalog) -> None:
    web, _ = make(catalog)
    make(catalog, "idle")
    late = dt.datetime(2026, 1, 3, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))  # the day before in UTC
    catalog.write(
        usage.record,
        used(web.id, pictures=2, prompt_tokens=10, completion_tokens=4, cost=0.25, elapsed_ms=3.5),
        used(web.id, pictures=1, is_cached=True, at=late),
        used(web.id, status="invalid_image", at=NOW + dt.timedelta(days=2)),
        used(None, pictures=5),
    )
    catalog.write(usage.record)
    view = catalog.rows("SELECT * FROM key_usage ORDER BY key_id IS NULL, day")
    first, third, keyless = ({**row, "cached": int(row["cached"])} for row in view)
    assert first == {
        "key_id": web.id,
        "name": "web",
        "day": "2026-01-02",
        "requests": 2,
        "failed": 0,
        "cached": 1,
        "pictures": 3,
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "cost": 0.25,
    }
    assert (third["day"], third["requests"], third["failed"]) == ("2026-01-04", 1, 1)
    assert (keyless["key_id"], keyless["name"], keyless["pictures"]) == (None, None, 5)

    idle, busy = catalog.write(keys.listed)
    assert (idle.key.name, idle.requests, idle.cost, idle.last_used_at) == ("idle", 0, 0, None)
    assert (busy.requests, busy.pictures, busy.prompt_tokens, busy.completion_tokens) == (3, 3, 10, 4)
    assert (busy.cost, busy.last_used_at) == (0.25, NOW + dt.timedelta(days=2))


def test_no_view_shows_a_secret(catalog: Catalog) -> None:
    make(catalog)
    columns = {
        (view, column["name"])
        for view in sa.inspect(catalog.engine).get_view_names()
        for column in sa.inspect(catalog.engine).get_columns(view)
    }
    assert not {name for _, name in columns} & {"secret_sha256", "url", "webhook_url", "body"}


# The command


def test_keys_from_the_command_line(place: Workplace) -> None:
    assert "no keys" in place.enrich("keys", "list").stdout
    made = place.enrich(
        "keys",
        "create",
        "shop",
        "--scope",
        "read",
        "--scope",
        "infer",
        "--minute",
        9,
        "--credits",
        2,
        "--json",
    )
    assert made.returncode == 0, made.stderr
    shown = json.loads(made.stdout)
    assert list(shown)[:2] == ["name", "key"]
    assert (shown["scopes"], shown["minute_limit"], shown["hour_limit"]) == (["infer", "read"], 9, None)
    with place.engine.connect() as connection:
        found = keys.find(connection, shown["key"])
    assert found is not None
    assert found.name == "shop"

    assert json.loads(place.enrich("keys", "credit", "shop", "0.5", "--json").stdout)["credits"] == 2.5
    assert place.enrich("keys", "credit", "shop", "--", "-1").stdout == "shop: 1.5 credits\n"
    (listed,) = json.loads(place.enrich("keys", "list", "--json").stdout)
    assert (listed["name"], listed["credits"], listed["requests"]) == ("shop", 1.5, 0)
    assert shown["key"] not in json.dumps(listed)
    assert place.enrich("keys", "revoke", "shop").stdout == "shop: revoked\n"
    assert json.loads(place.enrich("keys", "revoke", "shop", "--json").stdout)["changed"] is False
    with place.engine.connect() as connection:
        assert keys.find(connection, shown["key"]) is None


def test_a_key_for_people_is_alone_on_stdout(lite_place: Workplace) -> None:
    made = lite_place.enrich("keys", "create", "mine")
    (line,) = made.stdout.splitlines()
    with lite_place.engine.connect() as connection:
        key = keys.find(connection, line)
    assert key is not None
    assert (key.scopes, key.minute_limit, key.hour_limit, key.credits) == ({"infer"}, None, None, None)
    assert line not in made.stderr
    table = lite_place.enrich("keys", "list").stdout
    assert "mine" in table
    assert f"enr_{key.prefix}" in table
    assert line not in table


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("create", "web"), "there is a key 'web' already"),
        (("create", "b", "--scope", "write"), "'write' is not"),
        (("create", "b", "--minute", "0"), "0 is not in the range"),
        (("create", "a\x1b[2Jb"), "printable"),
        (("credit", "web", "1"), "no limit of credits"),
        (("credit", "web", "much"), "'much' is not a valid float"),
        (("revoke", "nobody"), "no key 'nobody'; enrich keys list"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_with_keys_is_wrong_use(
    lite_place: Workplace, arguments: tuple[str, ...], why: str
) -> None:
    assert lite_place.enrich("keys", "create", "web").returncode == 0
    done = lite_place.enrich("keys", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
