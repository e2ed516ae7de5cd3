"""``keys``: who may use the HTTP API."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.group import Group
from enrich.cli.output import print_json, print_table, visible
from enrich.cli.setup import Setup, setup_options

if TYPE_CHECKING:
    from enrich.catalog.keys import KeyRow, ListedKey


@click.group("keys", cls=Group)
def keys_command() -> None:
    """Keys for the HTTP API."""


@keys_command.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["infer", "read"]),
    multiple=True,
    help="infer: ask models, and see what the key itself sent; read: the whole catalog. Repeatable; infer "
    "unless given.",
)
@click.option("--minute", type=click.IntRange(min=1), help="Requests a minute; config.yaml's unless given.")
@click.option("--hour", type=click.IntRange(min=1), help="Requests an hour; config.yaml's unless given.")
@click.option(
    "--credits", "amount", type=click.FloatRange(min=0), help="USD that it may use up; no end unless given."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def create(
    setup: Setup,
    name: str,
    scopes: tuple[str, ...],
    minute: int | None,
    hour: int | None,
    amount: float | None,
    as_json: bool,
) -> None:
    """Make a key called NAME and print it: this once, and never again."""
    from enrich.app import open_catalog
    from enrich.catalog import keys
    from enrich.catalog.engine import translated, writing

    engine = open_catalog(setup.settings())
    with translated(), writing(engine).begin() as connection:
        key, secret = keys.create(
            connection,
            name,
            scopes=scopes or ("infer",),
            minute_limit=minute,
            hour_limit=hour,
            credits=amount,
            now=dt.datetime.now(dt.UTC),
        )
    if as_json:
        print_json({"name": key.name, "key": secret, **_limits(key)})
    else:
        click.echo(secret)
        click.echo(f"the key {visible(name)!r}, shown this once: the catalog holds a digest of it", err=True)


@keys_command.command("credit")
@click.argument("name")
@click.argument("amount", type=float)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def credit(setup: Setup, name: str, amount: float, as_json: bool) -> None:
    """Add AMOUNT (USD) to the credits of the key NAME; after --, a negative AMOUNT is taken away."""
    from enrich.app import open_catalog
    from enrich.catalog import keys
    from enrich.catalog.engine import translated, writing

    engine = open_catalog(setup.settings())
    with translated(), writing(engine).begin() as connection:
        key = keys.credit(connection, name, amount)
    if as_json:
        print_json({"name": key.name, **_limits(key)})
    else:
        click.echo(f"{visible(name)}: {key.credits:g} credits")


@keys_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def list_keys(setup: Setup, as_json: bool) -> None:
    """List all keys, revoked ones too, with what each used so far."""
    from enrich.app import open_catalog
    from enrich.catalog import keys
    from enrich.catalog.engine import translated

    engine = open_catalog(setup.settings())
    with translated(), engine.connect() as connection:
        rows = [_described(listed) for listed in keys.listed(connection)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [[_joined(name, value) for name, value in row.items()] for row in rows])
    else:
        click.echo("no keys: the HTTP API serves this machine only, and without one; see: enrich keys create")


@keys_command.command("revoke")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def revoke(setup: Setup, name: str, as_json: bool) -> None:
    """Let the key NAME open nothing any more, at once and for good; what it used stays in the catalog."""
    from enrich.app import open_catalog
    from enrich.catalog import keys
    from enrich.catalog.engine import translated, writing

    engine = open_catalog(setup.settings())
    with translated(), writing(engine).begin() as connection:
        was_open = keys.revoke(connection, name, dt.datetime.now(dt.UTC))
    if as_json:
        print_json({"name": name, "changed": was_open})
    else:
        click.echo(f"{visible(name)}: {'revoked' if was_open else 'was revoked already'}")


def _limits(key: KeyRow) -> dict[str, Any]:
    return {
        "scopes": sorted(key.scopes),
        "minute_limit": key.minute_limit,
        "hour_limit": key.hour_limit,
        "credits": key.credits,
    }


def _described(listed: ListedKey) -> dict[str, Any]:
    key = listed.key
    return {
        "name": key.name,
        "prefix": f"enr_{key.prefix}",
        **_limits(key),
        "requests": listed.requests,
        "pictures": listed.pictures,
        "prompt_tokens": listed.prompt_tokens,
        "completion_tokens": listed.completion_tokens,
        "cost": listed.cost,
        "last_used_at": listed.last_used_at,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _joined(name: str, value: Any) -> Any:
    return ", ".join(value) if name == "scopes" else value
