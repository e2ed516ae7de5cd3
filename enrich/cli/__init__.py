"""The command line; each command's module is imported when it is called."""

from __future__ import annotations

import importlib
import signal
import sys

import click

from enrich import __version__
from enrich.cli.setup import setup_options
from enrich.errors import EnrichError

__all__ = ["cli", "main"]

#: How long a thread keeps the interpreter from others. Python's own 5 ms are longer than a run of a small
#: model, and after each the model's thread would wait so long: 12 % fewer pictures over HTTP.
_SWITCH_SECONDS = 0.0005

#: Where each command lives, and its line in the help.
_COMMANDS = {
    "init": ("enrich.cli.start", "Write a commented config.yaml."),
    "demo": ("enrich.cli.demo", "The main job on drawn sample assets, in a temporary folder."),
    "run": ("enrich.cli.work", "Ingest and enrich files or folders, then exit."),
    "watch": ("enrich.cli.work", "The daemon: takes in and enriches whatever arrives in the roots."),
    "serve": ("enrich.cli.serve", "The daemon and the HTTP API in one process."),
    "status": ("enrich.cli.look", "What was done, what is left, what failed."),
    "show": ("enrich.cli.look", "Everything known about one asset."),
    "try": ("enrich.cli.attempt", "One plugin on one picture, without a catalog."),
    "ask": ("enrich.cli.ask", "One answer about one picture, without a catalog."),
    "query": ("enrich.cli.look", "One read-only SQL statement on the catalog."),
    "retry": ("enrich.cli.work", "Failed work again."),
    "pause": ("enrich.cli.control", "No new work until `enrich resume`."),
    "resume": ("enrich.cli.control", "Work again."),
    "forget": ("enrich.cli.control", "Erase all that is known of some assets."),
    "models": ("enrich.cli.models", "The model store."),
    "plugins": ("enrich.cli.plugins", "What loaded and what did not."),
    "keys": ("enrich.cli.keys", "Keys for the HTTP API."),
    "db": ("enrich.cli.database", "The catalog's schema."),
    "doctor": ("enrich.cli.doctor", "What works on this machine, tried for real."),
}

#: What a newcomer types, in this order; the first line keeps click from wrapping the others.
_FIRST = """\b
To begin with:
  enrich init      # writes config.yaml
  enrich run       # describes what lies in inbox/
  enrich query "SELECT * FROM overview"
  enrich doctor    # tries what works on this machine
"""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_FIRST)
@click.version_option(__version__, prog_name="enrich")
@setup_options
def cli() -> None:
    """Metadata enrichment for digital asset management.

    Drop pictures into a folder; plugins and their models describe them; what they say lands in a
    SQL catalog with its provenance.

    Exit codes: 0 done; 1 done, but some work failed; 2 wrong use or config; 3 a needed thing is
    missing; 130 interrupted. `enrich COMMAND --help` says more of each command.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `enrich query ... | head` ends quietly
    try:
        result = cli.main(standalone_mode=False)
    except EnrichError as error:
        from enrich.cli.logs import complain

        complain(str(error))
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)
