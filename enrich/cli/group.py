"""A group of commands whose list says whole sentences."""

from __future__ import annotations

import click

__all__ = ["Group"]

#: No first sentence is as long.
_LIMIT = 1000


class Group(click.Group):
    """Lists its commands with their first sentences, which click cuts off at the terminal's width."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            assert command is not None
            rows.append((name, command.get_short_help_str(_LIMIT)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
