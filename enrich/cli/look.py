"""``status``, ``show`` and ``query``: looking at the catalog."""

from __future__ import annotations

import csv
import datetime as dt
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.output import print_json, print_table, visible
from enrich.cli.setup import Setup, setup_options

if TYPE_CHECKING:
    import sqlalchemy as sa


@click.command("status")
@click.option("--failures", "limit", default=20, show_default=True, help="How many failures to list.")
@click.option("--follow", "is_followed", is_flag=True, help="Show it until stopped, as it changes.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="With --follow: seconds from look to look.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; with --follow, a line for each change."
)
@setup_options
@click.pass_obj
def status_command(setup: Setup, limit: int, is_followed: bool, interval: float, as_json: bool) -> int:
    """Show counts by step and state, the roots, what lacks which annotation and why, and what failed."""
    from enrich.catalog import report
    from enrich.cli import state

    engine = _engine(setup)
    if is_followed:
        from enrich.cli.follow import follow

        return follow(engine, interval, as_json=as_json)
    status = report.status(engine)
    lacking = report.lacking(engine)
    failures = report.failures(engine, limit)
    if as_json:
        print_json({**status, "lacking": lacking, "failures": failures})
        return 0
    click.echo(state.headline(status))
    for section in state.sections(status, dt.datetime.now(dt.UTC)):
        print_table(section.columns, section.rows, title=section.title)
    for rows, title in (
        (lacking, "lacking an annotation"),
        (failures, "failures"),
        (status["runs"], "last runs"),
    ):
        if rows:
            print_table(list(rows[0]), [list(row.values()) for row in rows], title=title)
    return 0


@click.command("show")
@click.argument("name", metavar="PATH-or-ASSET-ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def show_command(setup: Setup, name: str, as_json: bool) -> None:
    """Show everything known about one asset, by a path of it or its id."""
    from enrich.catalog import report
    from enrich.errors import UsageError

    engine = _engine(setup)
    found = report.find(engine, os.path.abspath(name)) or report.find(engine, name)
    if found is None:
        raise UsageError(f"nothing is known of {name}; `enrich run {name}` takes it in")
    shown = report.show(engine, *found)
    if as_json:
        print_json(shown)
        return
    for section in ("file", "asset"):
        if section in shown:
            click.echo(click.style(section, bold=True))
            for key, value in shown[section].items():
                if value is not None and key != "embedded":
                    click.echo(f"  {key}: {visible(str(value))}")
    if "asset" not in shown:
        return
    _print_embedded(shown["asset"]["embedded"] or {})
    print_table(
        ("id", "path", "state"), [_pick(row, "id", "path", "state") for row in shown["files"]], title="files"
    )
    of_job = ("step", "state", "attempts", "reason", "error")
    print_table(of_job, [_pick(row, *of_job) for row in shown["jobs"]], title="jobs")
    columns = ("step", "item", "page", "text", "data", "confidence")
    said = [
        [
            *_pick(row, *columns),
            row["generator"]["model"] or row["generator"]["plugin"],
            "yes" if row["is_stale"] else "",
        ]
        for row in shown["annotations"]
    ]
    print_table((*columns, "by", "stale"), said, title=f"annotations ({shown['superseded']} superseded)")


@click.command("query")
@click.argument("sql")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="Rows at most.")
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(0.1), help="Seconds at most."
)
@setup_options
@click.pass_obj
def query_command(setup: Setup, sql: str, form: str, as_json: bool, limit: int, timeout: float) -> None:
    """Run one read-only SQL statement on the catalog."""
    from enrich.catalog.engine import create_engine
    from enrich.catalog.query import query

    rows = query(create_engine(setup.settings().catalog), sql, max_rows=limit, max_seconds=timeout)
    if as_json or form == "json":
        print_json([dict(zip(rows.columns, row, strict=True)) for row in rows.rows])
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(rows.columns)
        writer.writerows(rows.rows)
    else:
        print_table(rows.columns, rows.rows)
    if rows.is_cut:
        click.echo(f"enrich: only the first {limit} rows; raise --limit for more", err=True)


def _engine(setup: Setup) -> sa.Engine:
    from enrich.app import open_catalog

    return open_catalog(setup.settings())


def _pick(row: dict[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


def _print_embedded(embedded: dict[str, Any]) -> None:
    if embedded:
        click.echo(click.style("embedded metadata", bold=True))
    for key, value in embedded.items():
        click.echo(f"  {key}: {visible(str(value))}")
