"""``models export`` and ``models quantise``: other forms of a model, each with its proof."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enrich.cli.output import print_json, print_table, visible
from enrich.cli.setup import Setup, setup_options
from enrich.errors import UsageError

if TYPE_CHECKING:
    from enrich.hub.forms import Form
    from enrich.hub.parcel import Progress
    from enrich.settings import Settings
    from enrich.types import Rendition

__all__ = ["models_export", "models_quantise"]

#: What a form is asked for by, and what it is called in manifest.json, as the hub's files are.
_FORMS: dict[str, Form] = {"fp16": "fp16", "int8": "int8", "int4": "q4"}
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
#: More pictures tell little more, and all of them are in memory.
_PICTURES_MAX = 100
#: Their longest edge; models that want less take it from there.
_SIZE_PX = 768


@click.command("export")
@click.argument("model")
@click.option("--as", "name", metavar="NAME", help="What it is called in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def models_export(setup: Setup, model: str, name: str | None, as_json: bool) -> None:
    """Make ONNX graphs of MODEL's weights, compare them with torch, and store them.

    MODEL is a name of the model list, hf:owner/name[@revision], or a folder as transformers saves it.
    The exporters' environment, with torch, is made when it is first needed.
    """
    from enrich.hub.export import export, origin_of

    models_dir = setup.settings().models_dir
    done = export(origin_of(model, name), models_dir, say=_say, on_progress=_Files())
    if as_json:
        print_json({"name": done.name, "folder": done.folder, "apart": dict(done.figures)})
        return
    rows = [(graph, f"{apart:.1e}") for graph, apart in done.figures.items()]
    print_table(("graph", "difference from torch"), rows)
    click.echo(
        f"{visible(done.name)} is in {visible(str(done.folder))}; try it: enrich models verify {done.name}"
    )


@click.command("quantise")
@click.argument("name")
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(list(_FORMS)),
    metavar="FORM",
    help="Which form to make: fp16, int8 or int4.",
)
@click.option("--pictures", type=_FOLDER, metavar="FOLDER", help="Pictures to compare the forms with.")
@click.option(
    "--calibrate", type=_FOLDER, metavar="FOLDER", help="Pictures that int8 learns its ranges from."
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), metavar="SHARE", help="How well the form must agree, 0..1."
)
@click.option("--force", is_flag=True, help="Keep the form however it agrees.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def models_quantise(
    setup: Setup,
    name: str,
    form: str,
    pictures: Path | None,
    calibrate: Path | None,
    threshold: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a smaller form of the model NAME, and use it from now on.

    Both forms are asked about the same pictures; what they agree on is printed and kept in
    manifest.json, and where it is too little nothing is changed. fp16 is for GPUs. int8 and int4 round
    weights; with --calibrate, int8 also computes in whole numbers where a graph takes only pictures.
    Without --pictures every other picture of --calibrate is compared.
    """
    from enrich.app import open_store
    from enrich.hub.agreement import counted
    from enrich.hub.quantise import Request, quantise
    from enrich.hub.staging import size_text

    settings = setup.settings()
    model = open_store(settings).get(name)
    seen, learned = _pictures(setup, settings, pictures, calibrate)
    request = Request(_FORMS[form], threshold, is_forced=force)
    done = quantise(model, settings.models_dir, request, pictures=seen, calibration=learned, say=_say)
    if as_json:
        print_json({**dataclasses.asdict(done), "folder": done.folder})
        return
    print_table(
        ("agreement", "value"), [(figure, f"{value:.4f}") for figure, value in done.agreement.figures.items()]
    )
    saved = f"{size_text(done.bytes_before)} became {size_text(done.bytes_after)}"
    click.echo(
        f"{visible(model.name)} is {done.form} now: {saved}, compared on {counted(done.agreement.pictures)} "
        f"({done.agreement.figure} must be {done.threshold:g} at least)"
    )


def _pictures(
    setup: Setup, settings: Settings, pictures: Path | None, calibrate: Path | None
) -> tuple[list[Rendition], list[Rendition]]:
    """Return the pictures to compare with, and those to learn from."""
    if pictures is None and calibrate is None:
        raise UsageError("name a folder of pictures like yours: --pictures FOLDER (or --calibrate FOLDER)")
    learned = _read(setup, settings, calibrate) if calibrate is not None else []
    if pictures is not None:
        return _read(setup, settings, pictures), learned
    if len(learned) < 2:
        raise UsageError(f"{calibrate}: one picture cannot be learned from and compared: more are needed")
    # Other pictures than those it learned from.
    return learned[1::2], learned[0::2]


def _read(setup: Setup, settings: Settings, folder: Path) -> list[Rendition]:
    from enrich.app import load_plugins, read_rendition
    from enrich.errors import FileError

    host = load_plugins(settings, bundled_only=setup.bundled_only)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    found: list[Rendition] = []
    # Spread over the folder, so that a few hundred stand for all.
    for path in paths[:: max(1, len(paths) // _PICTURES_MAX)]:
        try:
            found.append(read_rendition(settings, host, path, _SIZE_PX))
        except FileError as error:
            _say(f"left out: {error}")
    if not found:
        raise UsageError(f"{folder}: there is no picture in it")
    return found[:_PICTURES_MAX]


class _Files:
    """Says which file comes now, once."""

    def __init__(self) -> None:
        self._path = ""

    def __call__(self, progress: Progress) -> None:
        if progress.path != self._path:
            self._path = progress.path
            _say(f"fetching {progress.path}")


def _say(line: str) -> None:
    click.echo(visible(line), err=True)
