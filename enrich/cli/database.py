"""``db``: the catalog's schema."""

from __future__ import annotations

import click

from enrich.cli.group import Group
from enrich.cli.setup import Setup, setup_options


@click.group("db", cls=Group)
def db_command() -> None:
    """The catalog's schema."""


@db_command.command("upgrade")
@setup_options
@click.pass_obj
def upgrade(setup: Setup) -> None:
    """Bring the catalog to this version's schema; make it if there is none."""
    from enrich.catalog import schema
    from enrich.catalog.engine import create_engine

    engine = create_engine(setup.settings().catalog)
    before = schema.revision(engine)
    schema.upgrade(engine)
    click.echo(
        f"{before or 'empty'} -> {schema.HEAD}" if before != schema.HEAD else f"at {schema.HEAD} already"
    )


@db_command.command("check")
@setup_options
@click.pass_obj
def check(setup: Setup) -> int:
    """Compare the database with this version's tables, and the counters with what they count."""
    from enrich.catalog import report, schema
    from enrich.catalog.engine import create_engine

    engine = create_engine(setup.settings().catalog)
    found = schema.revision(engine)
    if found != schema.HEAD:
        click.echo(
            f"the schema is at {found or 'nothing'}, this version needs {schema.HEAD}; say: enrich db upgrade"
        )
        return 1
    troubles = schema.differences(engine) + report.miscounted(engine)
    for line in troubles:
        click.echo(line)
    if not troubles:
        click.echo(f"at {found}; tables and counters are as they should be")
    return 1 if troubles else 0
