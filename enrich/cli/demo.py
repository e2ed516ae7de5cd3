"""``demo``: the main job as a story, every figure measured while it runs."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enrich.cli.output import print_table, seconds, visible
from enrich.cli.setup import set_up_logging

if TYPE_CHECKING:
    from enrich.oneshot import Progress

_CONFIG = """\
catalog: sqlite:///catalog.db
plugin_dirs: [my_plugins]
roots:
  - {path: inbox, settle_seconds: 0.3}
steps:
"""

#: A step, the line that configures it, and the module it needs beside the base install.
_STEPS = (
    ("age", "{plugin: age, model: drawings-age}", "onnxruntime"),
    ("colors", "{plugin: colors}", None),
    ("quality", "{plugin: quality}", None),
    ("ocr", "{plugin: ocr}", "rapidocr"),
)

_PLUGIN = """\
import enrich

@enrich.hookimpl
@enrich.each
def enrich_tag(rendition):
    mean = rendition.pixels.mean() / 255
    return [enrich.Tag("bright" if mean > 0.5 else "dark")]
"""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the temporary folder and say where it is.")
def demo_command(keep: bool) -> int:
    """Show the main job on drawn sample assets, in a temporary folder."""
    set_up_logging(-1)  # the story says what fails; the log would say it twice
    folder = Path(tempfile.mkdtemp(prefix="enrich-demo-"))
    try:
        _Story(folder).tell()
    finally:
        if keep:
            click.echo(f"\nkept: {folder} (try: cd {folder} && enrich status)")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


@dataclass
class _Story:
    folder: Path

    def tell(self) -> None:
        self._prepare()
        self._drop()
        self._ask_sql()
        self._copy_and_move()
        self._break()
        self._write_plugin()
        click.echo(
            "\nThe bundled model knows drawings only: of a photograph it says nothing (outside_domain).\n"
            "ocr, colors and quality work on any picture: enrich init, then enrich run YOUR-FOLDER.\n"
            "A classifier of your own works from a manifest alone: docs/models.md."
        )

    @property
    def _inbox(self) -> Path:
        return self.folder / "inbox"

    def _prepare(self) -> None:
        (self.folder / "my_plugins").mkdir()
        self._inbox.mkdir()
        self._steps = []
        for name, line, needed in _STEPS:
            if needed is None or importlib.util.find_spec(needed):
                self._steps.append(f"  {name}: {line}\n")
            else:
                click.echo(f"(the step {name} is left out: {needed} is not installed)")
        self._configure()

    def _configure(self) -> None:
        (self.folder / "config.yaml").write_text(_CONFIG + "".join(self._steps), encoding="utf-8")

    def _drop(self) -> None:
        from enrich.drawings.samples import draw_samples

        with _chapter("Sample assets are drawn, and dropped into a folder"):
            paths = draw_samples(self._inbox)
        click.echo(f"  {len(paths)} files: {', '.join(path.name for path in paths[:4])}, ...")
        with _chapter("enrich run: each becomes an asset, each step says what it sees"):
            progress = self._run()
        _tell(progress)

    def _ask_sql(self) -> None:
        click.echo("\nWhat was said is SQL:  SELECT * FROM overview")
        rows = self._sql(
            "SELECT path, age_group, replace(text, char(10), ' / ') AS text, taken_at, camera FROM overview "
            "WHERE age_group IS NOT NULL OR text IS NOT NULL ORDER BY path"
        )
        columns = ("file", "apparent age", "text in the picture", "taken", "camera")
        print_table(
            columns,
            [[Path(row[0]).name, row[1], _cut(row[2]), row[3] and row[3][:10], row[4]] for row in rows],
        )
        rows = self._sql(
            "SELECT step, count(*), sum(elapsed_ms) / count(*), g.plugin, g.model FROM annotations a "
            "JOIN generators g ON g.id = a.generator_id GROUP BY step ORDER BY step"
        )
        click.echo("Every statement keeps its provenance:")
        print_table(("step", "annotations", "ms each", "plugin", "model"), rows)

    def _copy_and_move(self) -> None:
        first, second, *_ = sorted(path for path in self._inbox.iterdir() if path.suffix == ".jpg")
        (self._inbox / "sorted").mkdir()
        shutil.copy2(first, self._inbox / "sorted" / f"copy of {first.name}")
        second.rename(self._inbox / "sorted" / second.name)
        with _chapter("One picture is copied, one is moved, and enrich runs again"):
            progress = self._run()
        assets, files = self._sql(
            "SELECT count(DISTINCT asset_id), count(*) FROM files WHERE state = 'present'"
        )[0]
        done = sum(progress.jobs.values())
        click.echo(
            f"  {done} inferences: an asset is its picture, not its path ({assets} assets in {files} files)"
        )

    def _break(self) -> None:
        whole = next(path for path in sorted(self._inbox.iterdir()) if path.suffix == ".jpg").read_bytes()
        (self._inbox / "half copied.jpg").write_bytes(whole[: len(whole) // 2])
        with _chapter("Half a file arrives"):
            self._run()
        for path, kind, error in self._sql("SELECT path, error_kind, error FROM failures"):
            click.echo(f"  {visible(Path(path).name)}: {kind}: {visible(error)}")
        click.echo("  recorded, nothing else was held up; mend the file and say: enrich retry")

    def _write_plugin(self) -> None:
        click.echo("\nA plugin is a file of a few lines, my_plugins/light.py:\n")
        click.echo("".join(f"    {line}\n" for line in _PLUGIN.splitlines()))
        (self.folder / "my_plugins" / "light.py").write_text(_PLUGIN, encoding="utf-8")
        self._steps.append("  light: {plugin: light}\n")
        self._configure()
        with _chapter("With a line in config.yaml it is a step, and the catalog gets its tags"):
            progress = self._run()
        done = progress.jobs["done"]
        rows = self._sql(
            "SELECT tag, count(*) FROM asset_tags WHERE step = 'light' GROUP BY tag ORDER BY tag"
        )
        told = ", ".join(f"{count} {tag}" for tag, count in rows)
        click.echo(f"  {done} jobs, of the new step only: {told}")

    def _run(self) -> Progress:
        from enrich import settings
        from enrich.app import build

        app = build(settings.load(self.folder / "config.yaml"))
        try:
            return app.run((), stop=threading.Event())
        finally:
            app.close()

    def _sql(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "catalog.db")
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()


@contextmanager
def _chapter(title: str) -> Iterator[None]:
    click.echo(f"\n{title} ...", nl=False)
    started = time.perf_counter()
    yield
    click.echo(f" {seconds(time.perf_counter() - started)}")


def _tell(progress: Progress) -> None:
    files = ", ".join(f"{count} {state}" for state, count in sorted(progress.files.items()) if count)
    jobs = ", ".join(f"{count} {state}" for state, count in sorted(progress.jobs.items()) if count)
    click.echo(f"  files: {files}\n  jobs: {jobs}")


def _cut(text: str | None) -> str:
    return "" if text is None else text if len(text) <= 48 else text[:47] + "…"
