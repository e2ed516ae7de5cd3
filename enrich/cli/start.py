"""``init``: a configuration to start from."""

from __future__ import annotations

from pathlib import Path

import click

from enrich.cli.output import visible


@click.command("init")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def init_command(folder: Path) -> None:
    """Write a commented config.yaml into DIR, with the folder it watches."""
    from enrich import settings
    from enrich.errors import UsageError

    config = folder / settings.CONFIG_NAME
    if config.exists():
        raise UsageError(f"{config} is there already and stays; take another folder: enrich init DIR")
    try:
        (folder / "inbox").mkdir(parents=True, exist_ok=True)
        config.write_text(settings.sample(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{config} cannot be written: {error.strerror}") from error
    where, inbox = visible(str(folder)), visible(str(folder / "inbox"))
    go = "" if folder.resolve() == Path.cwd() else f"cd {where} && "
    click.echo(f"wrote {visible(str(config))}; put pictures into {inbox}, then say: {go}enrich run")
