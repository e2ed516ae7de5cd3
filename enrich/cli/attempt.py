"""``try``: a plugin author's first command."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.output import print_json, print_table, seconds
from enrich.cli.setup import Setup, parse_value, setup_options

if TYPE_CHECKING:
    from enrich.host import BoundStep, Host
    from enrich.results import Draft
    from enrich.settings import Settings
    from enrich.types import Rendition, Skip

__all__ = ["describe_once", "outside_config", "try_command"]


@contextlib.contextmanager
def outside_config(*keys: str) -> Iterator[None]:
    """Take away the keys that complaints begin with, of a step that stands in no config.yaml."""
    from enrich.errors import EnrichError

    try:
        yield
    except EnrichError as error:
        text = str(error)
        for key in keys:
            text = text.removeprefix(key)
        raise type(error)(text) from error


def describe_once(
    settings: Settings, host: Host, step: BoundStep, image: Path
) -> tuple[Rendition, list[Draft] | Skip, float]:
    """Run a step on one picture outside any catalog; return the rendition, what came of it, and seconds.

    Raises
    ------
    EnrichError
        The picture cannot be read, or the step failed.
    """
    from enrich import app
    from enrich.errors import EnrichError

    rendition = app.read_rendition(settings, host, image, step.size_px)
    started = time.perf_counter()
    (outcome,) = host.describe(step, [rendition], [()])
    elapsed_seconds = time.perf_counter() - started
    if isinstance(outcome, EnrichError):
        raise outcome
    return rendition, outcome, elapsed_seconds


@click.command("try")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--plugin", required=True, help="The plugin's name, or the path of a loose .py file.")
@click.option("--hook", help="Which hook, if the plugin has several work hooks.")
@click.option("--model", help="A model of the model store.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="One of the plugin's options.")
@click.option(
    "--question", "questions", multiple=True, metavar="TEXT", help="A question, for plugins that answer some."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def try_command(
    setup: Setup,
    image: Path,
    plugin: str,
    hook: str | None,
    model: str | None,
    options: tuple[str, ...],
    questions: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run one plugin on one picture; nothing is written anywhere."""
    import pydantic

    from enrich import app
    from enrich.settings import Step
    from enrich.types import Skip

    settings = setup.settings()
    host = app.load_plugins(settings, bundled_only=setup.bundled_only)
    name = app.load_loose(host, Path(plugin)) if plugin.endswith(".py") else plugin
    values: dict[str, Any] = {}
    for item in options:
        key, equals, text = item.partition("=")
        if not equals:
            raise click.BadParameter(f"{item!r} is not KEY=VALUE")
        values[key] = parse_value(text)
    if questions:
        if not isinstance(values.setdefault("questions", {}), Mapping):
            raise click.BadParameter("questions must be a section of names and texts", param_hint="--option")
        asked = {f"question-{number}": text for number, text in enumerate(questions, 1)}
        values["questions"] = {**values["questions"], **asked}
    try:
        step = Step.model_validate({**values, "plugin": name, "hook": hook, "model": model})
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise click.BadParameter(f"{first['loc'][0]}: {first['msg']}", param_hint="--option") from error
    with contextlib.closing(app.open_models(settings)) as models:
        with outside_config("steps.try.", "steps.try: "):
            bound = host.bind("try", step, models.open)
        rendition, outcome, elapsed_seconds = describe_once(settings, host, bound, image)
    said = [] if isinstance(outcome, Skip) else outcome
    columns = ("item", "kind", "text", "data", "confidence", "language")
    rows = [[getattr(draft, column) for column in columns] for draft in said]
    if as_json:
        print_json(
            {
                "skipped": outcome.reason if isinstance(outcome, Skip) else None,
                "annotations": [dict(zip(columns, row, strict=True)) for row in rows],
                "elapsed_ms": elapsed_seconds * 1000,
            }
        )
        return 0
    if isinstance(outcome, Skip):
        click.echo(f"skipped: {outcome.reason}")
    else:
        print_table(columns, rows)
    click.echo(f"{rendition.width_px} x {rendition.height_px} px, {seconds(elapsed_seconds)}")
    return 0
