"""Tables for people and JSON for programs; no text of a file can write on the terminal."""

import datetime as dt
import json
import re
from pathlib import Path

import click
import numpy as np
import pytest
import rich.console
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from enrich.cli import cli
from enrich.cli.output import as_table, print_json, print_table, seconds, visible

GROUPS = ("db", "keys", "models", "plugins")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Bücher 夏 😀 é", "Bücher 夏 😀 é"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202etxt", "gpj.\\u202etxt"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("caf\udce9", "caf\\udce9"),
        ("line\u2028break", "line\\u2028break"),
        ("\0", "\\x00"),
    ],
)
def test_what_would_move_hide_or_reorder_text_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_is_one_line_that_can_be_printed(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert "\x1b" not in shown


def test_what_is_kept_is_kept() -> None:
    assert visible("a\nb\x07", keep="\n") == "a\nb\\x07"


def test_a_table_off_a_terminal_is_whole_and_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        ["path", "text"], [["/a.jpg", "x" * 500], ["/b\n.jpg", "[bold]not markup[/bold]"]], title="rows"
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "rows"
    rows = [line for line in lines if "jpg" in line]
    assert len(rows) == 2
    assert "x" * 500 in rows[0]
    assert "/b ⏎ .jpg" in rows[1]
    assert "[bold]not markup[/bold]" in rows[1]


def test_cells_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    moment = dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=dt.UTC)
    print_table(
        ["cell"], [[None], [0.123456789], [moment], [{"a": [1, "夏"]}], [b"abc"], [True], ["\x1b[2J"]]
    )
    cells = [line.strip() for line in capsys.readouterr().out.splitlines()[3:]]
    assert cells[:7] == [
        "", "0.1235", "2024-05-06 07:08:09+00:00", '{"a": [1, "夏"]}', "<3 bytes>", "True", "\\x1b[2J",
    ]  # fmt: skip


def test_json_is_one_document_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    moment = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
    document = {"夏": [moment, Path("/a"), b"\xff", np.float32(0.5), np.array([1, 2]), {1}]}
    print_json(document)
    out = capsys.readouterr().out
    assert "夏" in out
    assert json.loads(out) == {"夏": ["2024-05-06T00:00:00+00:00", "/a", "ff", 0.5, [1, 2], "{1}"]}


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 ms"), (0.0421, "42 ms"), (1, "1.0 s"), (119.94, "119.9 s"), (120, "2.0 min")]
)
def test_durations_have_a_unit(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", [cli, *(cli.get_command(click.Context(cli), name) for name in GROUPS)])
def test_a_list_of_commands_cuts_no_sentence_off(command: click.Command, columns: int) -> None:
    said = command.get_help(click.Context(command, terminal_width=columns))
    listed = said.split("Commands:\n")[1].split("\n\n")[0]
    assert listed.rstrip().endswith(".")
    assert "..." not in listed
    assert max(map(len, said.splitlines())) <= columns


def test_the_help_ends_with_what_a_newcomer_types() -> None:
    shown = re.findall(r"^ +enrich (\w+)", cli.get_help(click.Context(cli)), flags=re.MULTILINE)
    assert shown == ["init", "run", "query", "doctor"]


def test_a_narrow_terminal_cuts_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["name", *(f"column {number}" for number in range(9))]
    table = as_table(
        columns, [["drawings-clip", *["a value of many words"] * 9]], title=None, is_terminal=True
    )
    rich.console.Console(width=60).print(table)
    assert " drawings-clip " in capsys.readouterr().out


def test_init_says_how_to_go_on_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, go in (("mine", "cd mine && enrich run"), (".", "enrich run")):
        said = CliRunner().invoke(cli, ["init", folder])
        inbox = Path(folder, "inbox")
        assert said.output.endswith(f"put pictures into {inbox}, then say: {go}\n")
        assert inbox.is_dir()
        again = CliRunner().invoke(cli, ["init", folder])
        assert "enrich init DIR" in str(again.exception)
