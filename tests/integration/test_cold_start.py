"""Commands in an interpreter that has imported nothing, as users start them; most tests fork theirs."""

from collections.abc import Iterator

import pytest
from workplace import Workplace


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A folder in which something was done."""
    folder = tmp_path_factory.mktemp("used")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.draw("one.png")
    place.run()
    yield place
    place.engine.dispose()


# One of each module of enrich.cli; the demo, the daemon, the server and `ask` are started so elsewhere.
@pytest.mark.parametrize(
    "command",
    [
        ("db", "check"),
        ("doctor",),
        ("init", "new"),
        ("keys", "create", "first"),
        ("models", "verify", "drawings-age"),
        ("pause",),
        ("plugins", "list"),
        ("query", "SELECT * FROM overview"),
        ("run",),
        ("try", "inbox/one.png", "--plugin", "light"),
    ],
    ids=" ".join,
)
def test_a_command_imports_what_it_needs(used: Workplace, command: tuple[str, ...]) -> None:
    done = used.enrich(*command, is_forked=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
