"""The demo's chapters."""

from __future__ import annotations

import random
import textwrap
import time
from pathlib import Path
from typing import Any

import click

from enrich.cli.demo_chapter import chapter, promise, shortened
from enrich.cli.demo_stage import Counts, Daemon, Stage
from enrich.cli.demo_steps import choose_steps
from enrich.cli.output import print_table, seconds, visible

__all__ = ["Story"]

#: Dropped one by one, to see how long each takes: a scene and a face.
_FIRST = ("sign.png", "child.jpg")
_ASKED = (("en", "place"), ("ja", "colour"))
_MOVED, _EDITED, _IPTC_CAPTION = "presenter.jpg", "banner.jpg", "The banner of the spring campaign"
_QUESTION, _REWORDED = "people", "How many people are there?"

_PLUGIN = """\
import enrich

@enrich.hookimpl
@enrich.each
def enrich_tag(rendition):
    mean = rendition.pixels.mean() / 255
    return [enrich.Tag("bright" if mean > 0.5 else "dark")]
"""

_FINISHED_OF = """
    SELECT count(*) FROM jobs j JOIN files f ON f.asset_id = j.asset_id
    WHERE f.path LIKE ? AND j.state IN ('done', 'skipped')
"""
_SAID_OF = "SELECT caption, tags, age_group FROM overview WHERE path LIKE ?"
_ANSWERS_OF = "SELECT question, text FROM answers WHERE path LIKE ? ORDER BY item"
_IS_THERE = "SELECT count(*) FROM files WHERE path LIKE ? AND state = 'present'"
_EMBEDDED_CAPTION = """
    SELECT json_extract(embedded, '$.description') FROM assets a JOIN files f ON f.asset_id = a.id
    WHERE f.path LIKE ?
"""
_DONE_AND_SILENT = """
    SELECT count(*) FROM jobs j WHERE state = 'done' AND NOT EXISTS
        (SELECT 1 FROM annotations a WHERE a.asset_id = j.asset_id AND a.step = j.step)
"""
_ANSWERS = """
    SELECT item, question, count(*), sum(is_stale) FROM answers GROUP BY item, question ORDER BY item
"""
_STALE_BESIDE_ANSWERS = """
    SELECT (SELECT count(*) FROM captions WHERE is_stale) + (SELECT count(*) FROM ages WHERE is_stale)
        + (SELECT count(*) FROM asset_tags WHERE is_stale) + (SELECT count(*) FROM texts WHERE is_stale)
"""
_LIGHTS = "SELECT tag, count(*) FROM asset_tags WHERE step = 'light' GROUP BY tag"
_OVERVIEW = """
    SELECT path, caption, tags, age_group, text FROM overview WHERE state = 'present' ORDER BY asset_id
"""
_PROVENANCE = """
    SELECT step, count(*), round(avg(elapsed_ms), 1), g.plugin, g.model
    FROM annotations a JOIN generators g ON g.id = a.generator_id
    GROUP BY step, g.plugin, g.model ORDER BY step
"""


class Story:
    """The main job, chapter by chapter.

    Parameters
    ----------
    folder : Path
        An empty folder to tell it in.
    """

    def __init__(self, folder: Path) -> None:
        steps = choose_steps("caption", "facts", "age", "tags", "colors", "quality")
        self._stage = Stage(folder, steps)
        self._daemon = Daemon(self._stage)
        self._drawn = folder / "drawn"
        self._files: list[Path] = []

    def tell(self) -> None:
        """Tell it.

        Raises
        ------
        Unkept
            Something that enrich promises did not happen.
        """
        self._start()
        for name in _FIRST:
            self._drop(name)
        if "facts" in self._stage.steps:
            self._ask()
        self._kill()
        self._move_and_edit()
        self._reconfigure()
        self._break()
        self._query()
        with chapter("SIGTERM: the daemon finishes what it began"):
            self._daemon.stop()

    def close(self) -> None:
        """Leave no process behind."""
        self._daemon.close()

    def _start(self) -> None:
        from enrich.drawings.samples import draw_samples
        from enrich.drawings.wording import all_tags

        with chapter("Sample assets are drawn"):
            self._files = draw_samples(self._drawn)
        click.echo(f"  {len(self._files)} files: {', '.join(path.name for path in self._files[:4])}, ...")
        vocabulary = self._stage.folder / "vocabulary.txt"
        vocabulary.write_text("\n".join(all_tags("en")) + "\n", encoding="utf-8")
        self._stage.configure()
        with chapter("enrich watch, the daemon, starts to look after an empty folder"):
            self._daemon.start()

    def _drop(self, name: str) -> None:
        stage, like = self._stage, f"%/{name}"
        started = time.monotonic()
        stage.drop(self._drawn / name)
        self._daemon.wait_for(
            lambda _: stage.value(_FINISHED_OF, like) == len(stage.steps), f"{name} to be described"
        )
        took = seconds(time.monotonic() - started)
        click.echo(f"\n{name} is dropped: its row is in the catalog {took} later")
        ((caption, tags, age_group),) = stage.rows(_SAID_OF, like)
        answers = "  ".join(f"{question} {text}" for question, text in stage.rows(_ANSWERS_OF, like))
        said = {"caption": caption, "answers": answers, "tags": tags, "apparent age": age_group}
        for what, text in said.items():
            if text:
                click.echo(f"  {what + ':':<14} {visible(text)}")

    def _ask(self) -> None:
        """Ask the same picture in two languages; what is true is known, for it was drawn here."""
        from enrich.drawings.samples import sample_scenes
        from enrich.drawings.wording import ask

        name = _FIRST[0]
        scene = sample_scenes()[name]
        click.echo(f"\nAnything may be asked of a picture:  enrich ask inbox/{name} QUESTION")
        # Of which shape, is left to chance, and no secret.
        chance = random.Random(1)  # noqa: S311
        for language, about in _ASKED:
            (asked,) = (one for one in ask(chance, scene, language) if one.about == about)
            answer = self._stage.ask(self._stage.inbox / name, asked.question)
            is_right = answer["text"].strip(" .。").casefold() == asked.answer.casefold()
            truth = "as drawn" if is_right else f"drawn was: {asked.answer}"
            took = seconds(answer["elapsed_ms"] / 1000)
            click.echo(f"  {asked.question}  {visible(answer['text'])}  ({took}; {truth})")

    def _kill(self) -> None:
        stage, daemon = self._stage, self._daemon
        rest = [path for path in self._files if path.exists()]
        before = stage.counts()
        for path in rest:
            stage.drop(path)
        daemon.wait_for(lambda now: now.finished > before.finished, "some work to be done")
        daemon.kill()
        amid = stage.counts()
        click.echo(
            f"\n{len(rest)} more are dropped at once, and amid the work comes kill -9:\n"
            f"  of {len(rest) * len(stage.steps)} jobs {amid.finished - before.finished} are done, "
            f"{amid.running} in hand, the rest not begun"
        )
        with chapter("enrich watch starts again"):
            daemon.start()
            after = self._wait_until_finished()
        silent = stage.value(_DONE_AND_SILENT)
        promise(after.assets == len(self._files), f"{after.assets} assets of {len(self._files)} files")
        promise(silent == 0, f"{silent} annotations were lost")
        promise(after.superseded == 0, f"{after.superseded} annotations were made twice")
        click.echo(
            f"  all {after.jobs} jobs of {after.assets} assets are done; "
            f"{after.annotations} annotations, none lost, none twice"
        )

    def _move_and_edit(self) -> None:
        from enrich.drawings.samples import write_iptc

        stage = self._stage
        before = stage.counts()
        edited = self._drawn / _EDITED
        edited.write_bytes(write_iptc((stage.inbox / _EDITED).read_bytes(), _IPTC_CAPTION, ["spring"]))
        (stage.inbox / "sorted").mkdir()

        def is_noticed(now: Counts) -> bool:
            is_moved = now.files == before.files and stage.value(_IS_THERE, f"%/sorted/{_MOVED}")
            return is_moved and self._embedded_caption() == _IPTC_CAPTION

        with chapter("One picture is moved, another one's IPTC caption is edited"):
            (stage.inbox / _MOVED).rename(stage.inbox / "sorted" / _MOVED)
            stage.drop(edited)
            self._daemon.wait_for(is_noticed, "the move and the edit to be noticed")
            after = self._wait_until_finished()
        inferences = after.attempts - before.attempts
        promise(after.assets == before.assets, "a move or an edit made another asset")
        promise(inferences == 0, f"a move and an edit cost {inferences} inferences")
        promise(after.annotations == before.annotations, "a move or an edit changed what was said")
        click.echo(
            f"  {inferences} inferences: an asset is its picture, not its path or metadata\n"
            f"  {_EDITED} now says of itself: {self._embedded_caption()}"
        )

    def _embedded_caption(self) -> str | None:
        caption: str | None = self._stage.value(_EMBEDDED_CAPTION, f"%/{_EDITED}")
        return caption

    def _reconfigure(self) -> None:
        """Word a question otherwise, add steps, and let the daemon begin anew with that."""
        stage = self._stage
        click.echo("\nA plugin is a file of a few lines, my_plugins/light.py:\n")
        click.echo(textwrap.indent(_PLUGIN, "    "), nl=False)
        (stage.folder / "my_plugins" / "light.py").write_text(_PLUGIN, encoding="utf-8")
        # ocr looks at every pixel and takes its time: it comes late, so that the rest need not wait for it.
        added: dict[str, dict[str, Any]] = {"light": {"plugin": "light"}, **choose_steps("ocr")}
        stage.steps.update(added)
        if "facts" in stage.steps:
            stage.steps["facts"]["questions"][_QUESTION]["ask"] = _REWORDED
        stage.configure()
        before = stage.counts()
        with chapter(f"config.yaml names the new steps ({', '.join(added)}), and the daemon starts anew"):
            self._daemon.stop()
            self._daemon.start()
            after = self._wait_until_finished()
        attempts, jobs = after.attempts - before.attempts, after.jobs - before.jobs
        promise(attempts == jobs, f"{attempts} attempts for the {jobs} jobs of new steps")
        click.echo(f"  {attempts} jobs, all of the new steps: nothing else is done again")
        if "facts" in stage.steps:
            self._show_stale()
        click.echo(f"The plugin's own column:  {_LIGHTS}")
        print_table(("tag", "count(*)"), stage.rows(_LIGHTS))

    def _show_stale(self) -> None:
        rows = self._stage.rows(_ANSWERS)
        others = self._stage.value(_STALE_BESIDE_ANSWERS)
        for item, _, count, stale in rows:
            expected = count if item == _QUESTION else 0
            promise(stale == expected, f"{stale} of {count} answers to {item} are stale")
        promise(others == 0, f"{others} annotations are stale that are no answers")
        click.echo(
            f"\nOne question was given other words too ({_QUESTION}: {_REWORDED})\n"
            "What was said stays; exactly its answers are stale:"
        )
        print_table(("item", "asked as", "answers", "stale"), rows)

    def _break(self) -> None:
        stage = self._stage
        whole = (stage.inbox / _EDITED).read_bytes()
        half = self._drawn / "half copied.jpg"
        half.write_bytes(whole[: len(whole) // 2])
        with chapter("Half a file arrives"):
            stage.drop(half)
            self._daemon.wait_for(
                lambda now: stage.failures() and now.jobs == now.finished,
                "the broken file to be noticed, and no job to wait for it",
            )
        click.echo(f"  {'; '.join(stage.failures())}")
        click.echo("  recorded in the view failures; no job waits for it\n")

    def _query(self) -> None:
        stage = self._stage
        click.echo("What was said is SQL:  SELECT * FROM overview")
        rows = [(Path(path).name, *said) for path, *said in stage.rows(_OVERVIEW)]
        columns = ("file", "caption", "tags", "age_group", "text")
        used = [number for number in range(len(columns)) if any(row[number] for row in rows)]
        print_table(
            [columns[number] for number in used],
            [[shortened(row[number]) for number in used] for row in rows],
        )
        if "caption" in stage.steps:
            self._compare({row[0]: row[1] for row in rows})
        click.echo("Every statement keeps its provenance:")
        print_table(("step", "annotations", "ms each", "plugin", "model"), stage.rows(_PROVENANCE))

    def _compare(self, captions: dict[str, str | None]) -> None:
        from enrich.drawings.samples import sample_scenes
        from enrich.drawings.wording import caption

        scenes = sample_scenes()
        right = sum(captions[name] == caption(scene, "en", "normal") for name, scene in scenes.items())
        click.echo(f"{right} of {len(scenes)} captions of scenes are word for word what was drawn.\n")

    def _wait_until_finished(self) -> Counts:
        return self._daemon.wait_for(self._is_finished, "all jobs to be done")

    def _is_finished(self, now: Counts) -> bool:
        promise(not now.failed, "; ".join(self._stage.failures()))
        return now.files == len(self._files) and now.finished == now.jobs == now.assets * len(
            self._stage.steps
        )
