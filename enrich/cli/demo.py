"""``demo``: the main job as a story, every figure measured while it runs."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from enrich.cli.logs import complain
from enrich.cli.setup import set_up_logging


@click.command("demo")
@click.argument("photographs", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--keep", is_flag=True, help="Keep the temporary folder and say where it is.")
def demo_command(photographs: Path | None, keep: bool) -> int:
    """Tell the main job as a story, on drawn sample assets in a temporary folder.

    With PATH, a folder of your own photographs or one of them, it ends with what ocr, colors and quality
    say of up to 24 of them, read where they are; no file of yours is written to.
    """
    from enrich.cli.demo_chapter import Unkept
    from enrich.cli.demo_photographs import find_pictures, look_at
    from enrich.cli.demo_story import Story

    set_up_logging(-1)  # the story says what fails; the log would say it twice
    signal.signal(signal.SIGTERM, _abort)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # an error that can be caught comes instead
    found = find_pictures(photographs) if photographs is not None else []
    folder = Path(tempfile.mkdtemp(prefix="enrich-demo-")).resolve()
    story = Story(folder)
    try:
        story.tell()
        if found:
            look_at(found, folder / "photographs")
    except Unkept as error:
        complain(f"not as promised: {error}")
        return 1
    except BrokenPipeError:
        # Nobody reads the story any more, nor its last words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.Abort from None
    finally:
        story.close()
        if keep:
            click.echo(f"\nkept: {folder} (try: cd {folder} && enrich status)")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(
        "\nThe demo's models know drawings. Captions of photographs come with models that have seen some.\n"
        "One comes with `enrich models pull smolvlm-256m`; docs/models.md has all of them."
    )
    return 0


def _abort(number: int, frame: object) -> NoReturn:
    """End as Ctrl-C does: the daemon must not outlive the demo."""
    raise click.Abort
