"""Faults on purpose: the command line in processes that kill themselves at a commit.

The product has no switch for this; see ``forks`` for how tests start such a process. By hand, in a folder
with a config.yaml:

    python tests/faults.py --kill-at 7 --when before -- watch

A child that kills itself notes in ``deaths.log`` which tables the commit was about.
"""

import argparse
import itertools
import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forks import When
    from workplace import Workplace

DEATHS = "deaths.log"

_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM|(CREATE|DROP|ALTER))\s+\"?(\w+)", re.IGNORECASE)


def deaths(place: "Workplace") -> list[set[str]]:
    """Return what each commit was about at which a process of this place killed itself."""
    path = place.folder / DEATHS
    return [set(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def arm(kill_at: int, when: "When", about: str = "") -> None:
    """Let this process kill itself before or after its ``kill_at``-th commit that writes (to a table)."""
    import sqlalchemy as sa
    from sqlalchemy.engine.default import DefaultDialect

    numbers = itertools.count(1)
    commit = DefaultDialect.do_commit
    tables = threading.local()  # a transaction stays in its thread
    note = os.open(DEATHS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def see(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith(("BEGIN", "SELECT pg_advisory_xact_lock")):
            tables.written = set()
        elif written := _WRITES.match(statement):
            tables.written = {*getattr(tables, "written", ()), "schema" if written[1] else written[2]}

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        written, tables.written = getattr(tables, "written", set()), set()
        is_it = bool(about in written if about else written) and next(numbers) == kill_at
        if is_it:
            os.write(note, (" ".join(sorted(written)) + "\n").encode())
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, connection)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]  # the fault


def _main() -> None:
    from enrich.cli import main

    parser = argparse.ArgumentParser(description="enrich, with faults")
    parser.add_argument(
        "--kill-at", type=int, required=True, metavar="N", help="die at the N-th commit that writes"
    )
    parser.add_argument("--when", choices=("before", "after"), default="before")
    parser.add_argument("--about", default="", metavar="TABLE", help="count commits that write to it")
    parser.add_argument("arguments", nargs="+", help="enrich's own command line, after --")
    options = parser.parse_args()
    sys.argv = ["enrich", *options.arguments]
    arm(options.kill_at, options.when, options.about)
    main()


if __name__ == "__main__":
    _main()
