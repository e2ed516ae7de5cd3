"""Logs on stderr, for people and for programs; most of it in processes of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Enrich = Callable[..., subprocess.CompletedProcess[str]]

#: Says one thing after the logs were set up.
SAYING = """
import logging, sys, threading, warnings
from enrich.cli import logs
logs.set_up_logging(int(sys.argv[2]), sys.argv[1])
log = logging.getLogger("enrich.intake")
"""


def said(code: str, log_format: str = "json", verbosity: int = 0) -> str:
    command = [sys.executable, "-c", SAYING + code, log_format, str(verbosity)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100).stderr


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def messages(text: str) -> list[str]:
    return [line["message"] for line in objects(text)]


def test_a_line_is_one_json_object() -> None:
    (line,) = objects(said("log.warning('%d files of %s', 3, '/p')"))
    time = line.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert line == {
        "level": "WARNING",
        "logger": "enrich.intake",
        "message": "3 files of /p",
        "thread": "MainThread",
    }


def test_the_time_is_utc_whatever_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    record = "logging.LogRecord('enrich.x', 40, '', 0, 'm', (), None)"
    (line,) = objects(said(f"record = {record}; record.created = 0.25; log.handle(record)"))
    assert line["time"] == "1970-01-01T00:00:00.250Z"


def test_whatever_is_in_a_name_it_stays_one_line_of_plain_text() -> None:
    text = said(r"log.warning('a\nb\x1b[2J\u202e\x9b \udcff \u00e9 \u2028')")
    assert text.count("\n") == 1
    assert text.isascii()
    assert text.strip().isprintable()
    assert messages(text) == ["a\nb\x1b[2J\u202e\x9b \\udcff \u00e9 \u2028"]


def test_an_exception_is_a_field_of_its_line() -> None:
    (line,) = objects(said("try: 1 / 0\nexcept ZeroDivisionError: log.exception('failed')"))
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "logging.getLogger('watchdog.observers').warning('full')",
            ("WARNING", "watchdog.observers", "full"),
        ),
        ("warnings.warn('odd')", ("WARNING", "py.warnings", "UserWarning: odd")),
        ("raise RuntimeError('gone')", ("CRITICAL", "enrich", "not caught")),
        ("threading.Thread(target=lambda: 1 / 0, name='t').start()", ("CRITICAL", "enrich", "not caught")),
        ("logs.complain('no such step')", ("CRITICAL", "enrich", "no such step")),
    ],
)
def test_what_others_say_is_json_as_well(code: str, expected: tuple[str, str, str]) -> None:
    (line,) = objects(said(code))
    assert (line["level"], line["logger"]) == expected[:2]
    assert expected[2] in line["message"]
    assert ("exception" in line) == (expected[2] == "not caught")


def test_the_end_of_a_thread_is_no_news() -> None:
    assert said("threading.Thread(target=sys.exit).start()") == ""


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    ("verbosity", "expected"), [(0, ["warning"]), (1, ["info", "warning"]), (2, ["debug", "info", "warning"])]
)
def test_more_is_logged_if_asked_for(log_format: str, verbosity: int, expected: list[str]) -> None:
    text = said("log.debug('debug'); log.info('info'); log.warning('warning')", log_format, verbosity)
    seen = messages(text) if log_format == "json" else [line.split(": ")[1] for line in text.splitlines()]
    assert seen == expected


def test_text_is_for_people() -> None:
    text = said(r"log.warning('a\x1b[2J'); logs.complain('b\x1b[2J')", "text")
    first, second = text.splitlines()
    assert re.fullmatch(r"[\d-]+ [\d:,]+ WARNING enrich.intake: a\\x1b\[2J", first)
    assert second == r"enrich: b\x1b[2J"


def test_setting_up_again_says_nothing_twice() -> None:
    again = "logs.set_up_logging(0, 'json'); log.warning('one'); logging.getLogger('other').warning('two')"
    assert messages(said(again)) == ["one", "two"]


# The option and the variable


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A configuration whose plugin does not load, which is logged."""
    (tmp_path / "mine").mkdir(mode=0o755)
    (tmp_path / "mine" / "broken.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "config.yaml").write_text("plugin_dirs: [mine]\nsteps: {colors: {plugin: colors}}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "variable", "is_json"),
    [
        (["plugins", "list"], None, False),
        (["plugins", "list"], "", False),
        (["plugins", "list"], "json", True),
        (["plugins", "list", "--log-format", "json"], None, True),
        (["--log-format", "json", "plugins", "list"], None, True),
        (["--log-format", "text", "plugins", "list"], "json", False),
    ],
)
def test_the_option_goes_before_the_variable(
    catalog: Path,
    enrich: Enrich,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str | None,
    is_json: bool,
) -> None:
    if variable is not None:
        monkeypatch.setenv("ENRICH_LOG_FORMAT", variable)
    lines = enrich(*arguments).stderr.splitlines()
    assert lines
    assert [line.startswith("{") for line in lines] == [is_json] * len(lines)


def test_a_format_that_is_none_is_wrong_use(enrich: Enrich, monkeypatch: pytest.MonkeyPatch) -> None:
    done = enrich("status", "--log-format", "xml")
    assert done.returncode == 2
    assert "'xml'" in done.stderr
    monkeypatch.setenv("ENRICH_LOG_FORMAT", "xml")
    done = enrich("status")
    assert done.returncode == 2
    assert done.stderr == "enrich: environment: ENRICH_LOG_FORMAT: 'xml' is not one of text, json\n"
