"""What systemd hears, over real sockets."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enrich import systemd
from enrich.systemd import Notifier

Heard = Callable[[], str]


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@enrich-test-{os.getpid()}"


@pytest.fixture
def heard(address: str) -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address.replace("@", "\0"))
        ear.settimeout(5)
        yield lambda: ear.recv(4096).decode()


def test_each_message_is_one_datagram_of_assignments(address: str, heard: Heard) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready("watching 2 roots")
    assert heard() == "READY=1\nSTATUS=watching 2 roots"
    notifier.status("3 pending")
    assert heard() == "STATUS=3 pending"
    notifier.ping()
    assert heard() == "WATCHDOG=1"
    notifier.stopping()
    assert heard() == "STOPPING=1"
    notifier.stopping(extend_seconds=90)
    assert heard() == "STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000"


def test_a_status_can_begin_no_other_assignment(address: str, heard: Heard) -> None:
    Notifier(address).status("of\nMAINPID=1\r\nnames \udcff")
    assert heard() == "STATUS=of MAINPID=1 names ?"


def test_the_variables_are_taken_away_so_that_no_child_speaks_for_us() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/home/ada"}
    Notifier.from_environment(environ)
    assert environ == {"HOME": "/home/ada"}


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("60000000", "ours", 30.0),
        ("500000", None, 0.25),
        ("60000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_ping_is_due_after_half_the_time_if_it_is_asked_of_us(
    usec: str | None, pid: str | None, expected: float | None
) -> None:
    pid = str(os.getpid()) if pid == "ours" else pid
    given = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    environ = {name: value for name, value in given.items() if value is not None}
    assert Notifier.from_environment(environ).ping_seconds == expected


@pytest.mark.parametrize("socket_name", [None, "", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_is_said_and_no_ping_is_due(
    socket_name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"WATCHDOG_USEC": "1000000", **({} if socket_name is None else {"NOTIFY_SOCKET": socket_name})}
    notifier = Notifier.from_environment(environ)
    assert notifier.ping_seconds is None
    for say in (notifier.stopping, notifier.ping, lambda: notifier.ready(""), lambda: notifier.status("")):
        say()
    assert not caplog.records


def test_a_socket_that_is_gone_is_said_once_and_used_again_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notify"
    notifier = Notifier(str(path))
    notifier.ping()
    notifier.ping()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        notifier.ping()
        assert ear.recv(100) == b"WATCHDOG=1"
    path.unlink()
    notifier.ping()
    assert len(caplog.records) == 2


def test_a_service_manager_that_does_not_read_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(systemd, "SEND_SECONDS", 0.01)
    notifier = Notifier(str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        while not caplog.records:  # soon its queue is full
            notifier.ping()
    assert "timed out" in caplog.text
