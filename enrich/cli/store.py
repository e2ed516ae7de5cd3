"""``models`` and ``plugins``: what is there to run."""

from __future__ import annotations

from typing import Any

import click

from enrich.cli.output import print_json, print_table, visible
from enrich.cli.setup import Setup, setup_options


@click.group("models")
def models_command() -> None:
    """The model store."""


@models_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def models_list(setup: Setup, as_json: bool) -> None:
    """List the models of models_dir and the bundled ones."""
    from enrich.app import open_store

    settings = setup.settings()
    rows = []
    for listing in open_store(settings).list():
        model = listing.model
        rows.append(
            {
                "name": listing.name,
                "family": model.family if model else None,
                "hooks": list(model.hooks) if model else [],
                "languages": list(model.languages) if model else [],
                "revision": model.revision if model else None,
                "licence": model.manifest.licence if model else None,
                "knows": model.manifest.knows if model else None,
                "folder": str(listing.folder),
                "problem": listing.problem,
            }
        )
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [_joined(row) for row in rows])
    else:
        click.echo(f"no models in {settings.models_dir}")


@models_command.command("verify")
@click.argument("names", nargs=-1)
@setup_options
@click.pass_obj
def models_verify(setup: Setup, names: tuple[str, ...]) -> int:
    """Check files and hashes of the NAMEd models (default: all), and run each once on a grey picture."""
    from enrich.app import open_store

    store = open_store(setup.settings())
    is_bad = False
    for name in names or [listing.name for listing in store.list()]:
        problems = store.verify(name)
        is_bad |= bool(problems)
        click.echo(f"{visible(name)}: {visible('; '.join(problems)) or 'good'}")
    return 1 if is_bad else 0


@click.group("plugins")
def plugins_command() -> None:
    """What loaded and what did not."""


@plugins_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def plugins_list(setup: Setup, as_json: bool) -> None:
    """List plugins with their hooks, and the failures with what to mend."""
    from enrich.app import load_plugins

    host = load_plugins(setup.settings(), bundled_only=setup.bundled_only)
    loaded = [
        {
            "name": plugin.name,
            "hooks": list(plugin.hooks),
            "distribution": plugin.distribution,
            "version": plugin.version,
            "origin": plugin.origin,
        }
        for plugin in host.plugins.values()
    ]
    failed = [
        {
            "name": failure.name,
            "distribution": failure.distribution,
            "version": failure.version,
            "origin": failure.origin,
            "error": failure.error,
        }
        for failure in host.failures
    ]
    if as_json:
        print_json({"plugins": loaded, "failures": failed})
        return
    if loaded:
        print_table(list(loaded[0]), [_joined(row) for row in loaded])
    for failure in host.failures:
        whence = f"{failure.distribution} {failure.version}" if failure.distribution else failure.origin
        click.echo(f"did not load: {visible(failure.name)} ({visible(whence)}): {visible(failure.error)}")


def _joined(row: dict[str, Any]) -> list[Any]:
    return [", ".join(value) if isinstance(value, list) else value for value in row.values()]
