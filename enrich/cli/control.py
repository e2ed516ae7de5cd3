"""``pause``, ``resume`` and ``forget``: what people decide about the whole catalog, or one asset."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

import click

from enrich.cli.output import print_json, seconds, visible
from enrich.cli.setup import Setup, setup_options

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from enrich.catalog.forget import Forgotten

#: Paths listed for people; with --json all are.
SHOWN_PATHS = 20


@click.command("pause")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def pause_command(setup: Setup, as_json: bool) -> None:
    """Let no worker of this catalog begin anything new; what is under way is finished.

    Files are still taken in. It holds on every machine and over restarts, until `enrich resume`.
    """
    from enrich.app import open_catalog
    from enrich.catalog import control, report
    from enrich.catalog.engine import translated, writing

    engine = open_catalog(setup.settings())
    with translated(), writing(engine).begin() as connection:
        is_new = control.pause(connection, dt.datetime.now(dt.UTC))
        since = control.paused_at(connection)
    waiting = report.open_jobs(engine)
    if as_json:
        print_json({"paused_at": since, "changed": is_new, "waiting": waiting})
    else:
        how = "paused" if is_new else f"paused already, since {since:%Y-%m-%d %H:%M:%S} UTC"
        click.echo(f"{how}; {_jobs(waiting)} until: enrich resume")


@click.command("resume")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def resume_command(setup: Setup, as_json: bool) -> None:
    """Let the workers of this catalog go on after `enrich pause`."""
    from enrich.app import open_catalog
    from enrich.catalog import control, report
    from enrich.catalog.engine import translated, writing

    engine = open_catalog(setup.settings())
    with translated(), writing(engine).begin() as connection:
        since = control.paused_at(connection)
        was_paused = control.resume(connection)
    waiting = report.open_jobs(engine)
    if as_json:
        print_json({"paused_at": None, "changed": was_paused, "waiting": waiting})
    elif since is None:
        click.echo(f"was not paused; {_jobs(waiting)}")
    else:
        paused = seconds(max(0.0, (dt.datetime.now(dt.UTC) - since).total_seconds()))
        click.echo(f"resumed after {paused}; {_jobs(waiting)}")


def _jobs(waiting: int) -> str:
    return "1 job waits" if waiting == 1 else f"{waiting} jobs wait"


@click.command("forget")
@click.argument("names", nargs=-1, required=True, metavar="PATH-or-ASSET-ID...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def forget_command(setup: Setup, names: tuple[str, ...], as_json: bool) -> None:
    """Erase all that is known of assets, each named by its id or a path of it; originals stay.

    So go what was sent of them over HTTP, and what was answered. Nothing is asked. A file that is
    still there is taken in anew by the next scan of its root.
    """
    from enrich.app import open_catalog
    from enrich.catalog import forget

    settings = setup.settings()
    engine = open_catalog(settings)
    asset_ids, file_ids = _find(engine, names)
    forgotten = forget.forget(engine, asset_ids, file_ids)
    missing = _delete(settings.api.uploads_dir, forgotten.uploads)
    still_there = [path for path, (root, state) in forgotten.files.items() if _is_there(path, root, state)]
    if as_json:
        print_json(
            {
                "assets": asset_ids,
                "rows": dict(forgotten.rows),
                "files": list(forgotten.files),
                "uploads": forgotten.uploads,
                "uploads_missing": missing,
                "still_there": still_there,
                "is_scrubbed": not forgotten.unscrubbed,
            }
        )
        return
    _print_forgotten(forgotten, still_there)
    if missing:
        where = visible(str(settings.api.uploads_dir))
        click.echo(f"not found in {where} (api.uploads_dir; is it the server's?): {', '.join(missing)}")


def _delete(folder: Path, uploads: list[str]) -> list[str]:
    """Delete copies that the HTTP API made, no originals of anybody; return those that are not there."""
    missing = []
    for upload in uploads:
        try:
            (folder / upload).unlink()
        except FileNotFoundError:
            missing.append(upload)
    return missing


def _find(engine: sa.Engine, names: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Return the assets, and the files without one; UsageError if anything is unknown."""
    from enrich.catalog import report
    from enrich.errors import UsageError

    ids: dict[str, dict[int, None]] = {"asset": {}, "file": {}}
    unknown = []
    for name in names:
        found = report.find(engine, os.path.abspath(name)) or report.find(engine, name)
        if found is None:
            unknown.append(name)
            continue
        kind, row_id = report.whole(engine, *found)
        ids[kind][row_id] = None
    if unknown:
        raise UsageError(f"nothing is known of {', '.join(unknown)}; nothing was forgotten")
    return list(ids["asset"]), list(ids["file"])


def _is_there(path: str, root: str, state: str) -> bool:
    """Whether a scan would find the file; where its root is not to be seen from here, the catalog says."""
    from enrich.catalog.clean import unescape_path

    return os.path.lexists(unescape_path(path)) if unescape_path(root).is_dir() else state != "missing"


def _print_forgotten(forgotten: Forgotten, still_there: list[str]) -> None:
    rows = (f"{count} {table}" for table, count in forgotten.rows.items() if count)
    click.echo(f"forgotten: {', '.join(rows)}")
    if forgotten.unscrubbed:
        click.echo(f"not wiped yet: {forgotten.unscrubbed}")
    if still_there:
        click.echo("still there, and taken in anew by the next scan unless moved out of the root or ignored:")
        for path in still_there[:SHOWN_PATHS]:
            click.echo(f"  {visible(path)}")
        if len(still_there) > SHOWN_PATHS:
            click.echo(f"  and {len(still_there) - SHOWN_PATHS} more")
