"""``plugins``: what is there to run."""

from __future__ import annotations

import click

from enrich.cli.group import Group
from enrich.cli.output import joined, print_json, print_table, visible
from enrich.cli.setup import Setup, setup_options


@click.group("plugins", cls=Group)
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
        print_table(list(loaded[0]), [joined(row) for row in loaded])
    for failure in host.failures:
        whence = f"{failure.distribution} {failure.version}" if failure.distribution else failure.origin
        click.echo(f"did not load: {visible(failure.name)} ({visible(whence)}): {visible(failure.error)}")
