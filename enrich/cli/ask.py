"""``ask``: one answer about one picture."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from enrich.cli.attempt import describe_once, outside_config
from enrich.cli.output import print_json, visible
from enrich.cli.setup import Setup, setup_options

#: It ships with enrich, so the command works on a fresh machine.
DEFAULT_MODEL = "drawings-vlm"


@click.command("ask")
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("question")
@click.option("--model", help=f"A model that answers questions; {DEFAULT_MODEL}, which knows drawings only.")
@click.option("--lang", help="The question's language (BCP 47), for models that want to know it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def ask_command(
    setup: Setup, image: Path, question: str, model: str | None, lang: str | None, as_json: bool
) -> int:
    """Ask one QUESTION about one picture; nothing is written anywhere."""
    from enrich import app
    from enrich.errors import UsageError
    from enrich.prompts import PromptTemplate
    from enrich.settings import Step
    from enrich.types import Skip

    if model is None:
        model = DEFAULT_MODEL
        click.echo(f"enrich: asking {model}, which knows drawings only; --model names another", err=True)
    settings = setup.settings()
    host = app.load_plugins(settings, bundled_only=True)
    try:
        quoted = str(PromptTemplate.quoting(question))
    except ValueError as error:
        raise UsageError(f"the question: {error}") from error
    keys = {"questions": {"question": quoted}, **({"lang": lang} if lang else {})}
    with contextlib.closing(app.open_models(settings)) as models:
        with outside_config("steps.ask.", "steps.ask: ", "questions.question: "):
            step = Step.model_validate({**keys, "plugin": "answer", "model": model})
            bound = host.bind("ask", step, models.open)
        _, outcome, elapsed_seconds = describe_once(settings, host, bound, image)
    if isinstance(outcome, Skip):
        raise UsageError(_refusal(model, outcome.reason))
    (answer,) = outcome
    if as_json:
        print_json(
            {
                "question": question,
                "text": answer.text,
                "confidence": answer.confidence,
                "model": model,
                "elapsed_ms": elapsed_seconds * 1000,
            }
        )
    else:
        click.echo(visible(answer.text or "", keep="\n"))
    return 0


def _refusal(model: str, reason: str) -> str:
    return (
        f"the model {model} does not know such pictures ({reason}); name another with --model: "
        "`enrich models list` shows which answer questions"
    )
