"""``models``: what is in the store, what could be, and how it gets there."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.conversion import models_export, models_quantise
from enrich.cli.group import Group
from enrich.cli.output import joined, print_json, print_table, visible
from enrich.cli.setup import Setup, setup_options
from enrich.errors import MissingError, ModelMissing, UsageError

if TYPE_CHECKING:
    from enrich.hub.parcel import OnProgress, Progress
    from enrich.hub.pull import Pulled
    from enrich.settings import Settings

_MILLION = 1_000_000


@click.group("models", cls=Group)
def models_command() -> None:
    """The model store."""


models_command.add_command(models_export)
models_command.add_command(models_quantise)


@models_command.command("list")
@click.option("--available", is_flag=True, help="Those that can be had, instead of those that are here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def models_list(setup: Setup, available: bool, as_json: bool) -> None:
    """List the models of models_dir and the bundled ones."""
    from enrich.app import open_store

    settings = setup.settings()
    if available:
        _list_available(settings, as_json)
        return
    rows: list[dict[str, Any]] = []
    for listing in open_store(settings).list():
        model = listing.model
        rows.append(
            {
                "name": listing.name,
                "family": model.family if model else None,
                "hooks": list(model.hooks) if model else [],
                "languages": list(model.languages) if model else [],
                "revision": model.revision if model else None,
                "variant": model.manifest.variant if model else None,
                "licence": model.manifest.licence if model else None,
                "knows": model.manifest.knows if model else None,
                "folder": str(listing.folder),
                "problem": listing.problem,
            }
        )
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [joined({**row, "hooks": _short(row["hooks"])}) for row in rows])
    else:
        click.echo(f"no models in {settings.models_dir}; see: enrich models list --available")


@models_command.command("verify")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def models_verify(setup: Setup, names: tuple[str, ...], as_json: bool) -> int:
    """Check files and hashes of the models named (default: all), and run each once on a grey picture.

    All of them are looked at. The exit code is 3 if one is not there, else 1 if one is bad.
    """
    from enrich.app import open_store

    store = open_store(setup.settings())
    rows, code = [], 0
    for name in names or [listing.name for listing in store.list()]:
        try:
            problems = store.verify(name)
            code = max(code, 1 if problems else 0)
        except MissingError as error:
            problems, code = (str(error),), error.exit_code
        rows.append({"name": name, "problems": problems})
        if not as_json:
            click.echo(f"{visible(name)}: {visible('; '.join(problems)) or 'good'}")
    if as_json:
        print_json(rows)
    return code


@models_command.command("pull")
@click.argument("model")
@click.option("--variant", help="fp32, fp16, int8, q4 or q4f16; what suits the device unless given.")
@click.option("--device", help="The device that the variant shall suit; config.yaml's unless given.")
@click.option("--as", "name", help="What it shall be called in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def models_pull(
    setup: Setup, model: str, variant: str | None, device: str | None, name: str | None, as_json: bool
) -> None:
    """Bring MODEL into the store: a name of the list, or hf:owner/name[@revision] of the hub.

    Files that are published as ONNX are taken, each checked against the hub's hash. What was interrupted
    goes on from there when it is called again; what is there whole is left alone. A gated repository
    needs a token in HF_TOKEN; HF_ENDPOINT names another hub; with HF_HUB_OFFLINE=1 the hub's cache is
    used.
    """
    from enrich.hub.pull import pull
    from enrich.hub.target import parse_target
    from enrich.inference.devices import parse_device

    settings = setup.settings()
    target = parse_target(model, name)
    if device is not None:
        device = parse_device(device).kind
    elif settings.device not in ("auto", "cpu"):
        device = parse_device(settings.device).kind
    with _shown(target.name) as on_progress:
        pulled = pull(target, settings.models_dir, variant=variant, device=device, on_progress=on_progress)
    if as_json:
        print_json(dataclasses.asdict(pulled))
    else:
        click.echo(visible(_said(pulled)))


@models_command.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@setup_options
@click.pass_obj
def models_remove(setup: Setup, names: tuple[str, ...]) -> None:
    """Delete models from models_dir, and what unfinished pulls of them left; nothing is asked.

    What they said of assets stays in the catalog.
    """
    from enrich.hub.listed import resolve
    from enrich.hub.staging import remove

    settings = setup.settings()
    for name in names:
        try:
            folder = remove(settings.models_dir, resolve(name))
        except ModelMissing:
            _check_own(settings, resolve(name))
            raise
        click.echo(f"removed {visible(str(folder))}")


def _check_own(settings: Settings, name: str) -> None:
    """Raise if a model is one that came with enrich."""
    from enrich.app import open_store

    if any(one.bundled and one.name == name for one in open_store(settings).list()):
        raise UsageError(f"{name} came with enrich and is not in {settings.models_dir}: it stays")


def _short(hooks: Iterable[str]) -> list[str]:
    """Return hooks as people call them."""
    return [hook.removeprefix("enrich_") for hook in hooks]


def _list_available(settings: Settings, as_json: bool) -> None:
    from enrich.app import open_store
    from enrich.hub.listed import LISTED, described

    here = {listing.name for listing in open_store(settings).list()}
    rows = [{**described(one), "is_here": one.name in here} for one in LISTED.values()]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "family", "hooks", "licence", "parameters", "variants", "here", "command")
    table = [
        [
            row["name"],
            row["family"],
            ", ".join(_short(row["hooks"])),
            row["licence"],
            f"{row['parameters'] / _MILLION:,.0f} M" if row["parameters"] >= _MILLION else "< 1 M",
            ", ".join(row["variants"]),
            "yes" if row["is_here"] else "no",
            row["command"],
        ]
        for row in rows
    ]
    print_table(columns, table)
    click.echo("any other of the hub with ONNX files: enrich models pull hf:owner/name[@revision]")


def _said(pulled: Pulled) -> str:
    from enrich.hub.staging import size_text

    form = f", {pulled.variant}" if pulled.variant else ""
    form += f" ({pulled.note})" if pulled.note else ""
    what = f"{pulled.name} at {pulled.revision[:12]}{form}, {size_text(pulled.bytes)}"
    if not pulled.is_new:
        return f"was there already: {what}, in {pulled.folder}"
    return f"pulled {what}, in {pulled.folder}; try it: enrich models verify {pulled.name}"


@contextlib.contextmanager
def _shown(name: str) -> Iterator[OnProgress]:
    """Show on a terminal how far a pull is; to a file, nothing."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None)

        def show(progress: Progress) -> None:
            bars.update(
                task,
                description=visible(progress.path),
                completed=progress.done_bytes,
                total=progress.total_bytes,
            )

        yield show
