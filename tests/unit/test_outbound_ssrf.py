"""Nobody makes this server connect to what is not public: not directly, not by a redirect, not by a name.

Behind every connection that is begun stands a real listener, whatever address it was begun to: one attempt
that got through would be counted there.
"""

import io
import socket
from collections.abc import Iterator

import pytest
from outside import Site, response, site

from enrich.errors import FetchFailed, FetchRefused
from enrich.outbound import Fetcher, Poster
from enrich.outbound.connections import dial

PUBLIC = "93.184.216.34"

#: What names stand for; each list is one answer, the last one is repeated.
NAMES = {
    "public.example": [[PUBLIC]],
    "private.example": [["10.0.0.1"]],
    "loopback.example": [["127.0.0.1"]],
    "localhost": [["::1", "127.0.0.1"]],
    "printer.local": [["192.168.1.20"]],
    "metadata.google.internal": [["169.254.169.254"]],
    "six.example": [["fd00::1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "nat64.example": [["64:ff9b::7f00:1"]],
    "local-nat64.example": [["64:ff9b:1::7f00:1"]],
    "sixtofour.example": [["2002:7f00:1::"]],
    "teredo.example": [["2001:0:4136:e378:8000:63bf:80ff:fffe"]],
    "carrier.example": [["100.64.0.1"]],
    "unspecified.example": [["0.0.0.0"]],
    "scoped.example": [["fe80::1%eth0"]],
    "broadcast.example": [["255.255.255.255"]],
    "all-private.example": [["10.0.0.1", "172.16.0.1", "fe80::1", "::1"]],
    "xn--lcalhost-c1a.example": [["127.0.0.1"]],
    "a" * 63 + ".example": [["127.0.0.1"]],
    "127.0.0.1.nip.example": [["127.0.0.1"]],
    "rebound.example": [["127.0.0.1"], [PUBLIC]],
}

ATTEMPTS = [
    # Loopback in every spelling.
    "http://127.0.0.1/", "https://127.0.0.1/", "http://127.0.0.2/", "http://127.255.255.254/", "http://127.1/",
    "http://127.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7F.0x0.0x0.0x1/", "http://0x7f.1/",
    "http://017700000001/", "http://0177.0.0.1/", "http://0177.0.0.01/", "http://00000177.0.0.1/", "http://127.0.0.1./",
    "http://127.00.0.1/", "http://4294967297/", "http://0/", "http://0.0.0.0/", "http://0x0/",
    "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://１２７.0.0.1/", "http://%31%32%37.0.0.1/",
    "http://localhost/", "http://LOCALHOST./", "http://loopback.example/", "http://127.0.0.1.nip.example/",
    # IPv6, and IPv4 inside it.
    "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::]/", "http://[::127.0.0.1]/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/", "http://[0:0:0:0:0:ffff:127.0.0.1]/", "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b::a00:1]/", "http://[64:ff9b:1::127.0.0.1]/",
    "http://[2002:7f00:1::]/", "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[fc00::1]/", "http://[fd00:ec2::254]/",
    "http://[ff02::1]/", "http://[fec0::1]/", "http://[2001:db8::1]/", "http://[::1]public.example/",
    "http://six.example/", "http://mapped.example/", "http://nat64.example/", "http://local-nat64.example/",
    "http://sixtofour.example/", "http://teredo.example/", "http://scoped.example/",
    # Private networks, carriers' networks, and where clouds keep their secrets.
    "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.0.1/", "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:a9fe:a9fe]/",
    "http://2852039166/", "http://0xa9fea9fe/", "http://168.63.129.16/", "http://192.0.0.192/", "http://198.18.0.1/",
    "http://203.0.113.1/", "http://224.0.0.1/", "http://255.255.255.255/", "http://240.0.0.1/",
    "http://metadata.google.internal/", "http://private.example/", "http://printer.local/", "http://carrier.example/",
    "http://unspecified.example/", "http://broadcast.example/", "http://all-private.example/", "http://rebound.example/",
    "http://xn--lcalhost-c1a.example/", f"http://{'a' * 63}.example/",
    # User-info, ports, schemes, and what two programs read differently.
    "http://public.example@127.0.0.1/", "http://public.example:80@127.0.0.1/", "http://127.0.0.1@public.example/",
    "http://user:password@public.example/", "http://127.0.0.1\\@public.example/", "http://public.example\\@127.0.0.1/",
    "http://public.example#@127.0.0.1:22/", "http://public.example:22/", "http://public.example:6379/",
    "http://public.example:8080/", "https://public.example:444/", "http://public.example:0/",
    "http://public.example:65616/", "http://127.0.0.1:80:80/", "http://public.example:80 @127.0.0.1/",
    "http://public.example\t@127.0.0.1/", "http://public.example%2f@127.0.0.1/",
    "http://public.example/\r\nHost: a",
    "ftp://127.0.0.1/", "file:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stats", "ldap://127.0.0.1/", "jar:http://127.0.0.1!/", "unix:///var/run/docker.sock",
    "//127.0.0.1/", "http:///127.0.0.1/", "http:127.0.0.1", "http://",
]  # fmt: skip

#: This one is the only one whose host is public: what follows the number sign is no part of it.
HARMLESS = "http://public.example#@127.0.0.1:22/"
REFUSED = [attempt for attempt in ATTEMPTS if attempt != HARMLESS]


class Trap:
    """Every connection ends at one listener, whatever it is meant for; but for those to ``excepted``."""

    def __init__(self, listener: Site) -> None:
        self.listener = listener
        self.excepted: Site | None = None
        self.dialled: list[tuple[str, int]] = []
        self._asked: dict[str, int] = {}

    def ask(self, host: str, port: int) -> list[str]:
        answers = NAMES[host]
        count = self._asked.get(host, 0)
        self._asked[host] = count + 1
        return answers[min(count, len(answers) - 1)]

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        if self.excepted is not None and port == self.excepted.port:
            return dial(address, port, seconds)
        self.dialled.append((address, port))
        return dial("127.0.0.1", self.listener.port, seconds)


@pytest.fixture
def trap() -> Iterator[Trap]:
    with site(lambda request: response(b"a secret")) as listener:
        yield Trap(listener)


def reached(trap: Trap) -> int:
    """Count the connections after one of our own, which is accepted after all that were made before."""
    with socket.create_connection(("127.0.0.1", trap.listener.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(1)
    return trap.listener.connections - 1


def fetched(trap: Trap, url: str, *allow_hosts: str) -> bytes:
    into = io.BytesIO()
    Fetcher(allow_hosts, ask=trap.ask, dial=trap.dial).fetch(url, into)
    return into.getvalue()


def test_there_are_enough_attempts_and_none_twice() -> None:
    assert len(set(ATTEMPTS)) == len(ATTEMPTS) >= 100


def test_the_trap_counts_what_gets_through(trap: Trap) -> None:
    assert fetched(trap, "http://127.0.0.1/", "127.0.0.1") == b"a secret"
    assert fetched(trap, "http://loopback.example:8080/", "loopback.example") == b"a secret"
    assert reached(trap) == 2


@pytest.mark.parametrize("url", REFUSED)
def test_asked_for_directly(trap: Trap, url: str) -> None:
    with pytest.raises(FetchRefused):
        fetched(trap, url)
    assert (trap.dialled, reached(trap)) == ([], 0)


# What a header can say; an address without a scheme or host leads back to who redirects.
@pytest.mark.parametrize(
    "url", [url for url in REFUSED if url.isascii() and url.isprintable() and ":" in url]
)
def test_by_a_redirect(trap: Trap, url: str) -> None:
    with site(lambda request: response(status="302 Found", Location=url)) as redirecting:
        trap.excepted = redirecting
        with pytest.raises((FetchRefused, FetchFailed)):
            fetched(trap, redirecting.url(), redirecting.address)
        assert redirecting.connections >= 1
    assert (trap.dialled, reached(trap)) == ([], 0)


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_by_every_kind_of_redirect_and_by_the_last_of_several(trap: Trap, status: str) -> None:
    def answer(request: object) -> object:
        path = getattr(request, "path", "")
        return response(status=status, Location="/second" if path == "/" else "http://loopback.example/")

    with site(answer) as redirecting:  # type: ignore[arg-type]  # written for any request
        trap.excepted = redirecting
        with pytest.raises(FetchRefused):
            fetched(trap, redirecting.url(), redirecting.address)
        assert redirecting.connections == 2
    assert (trap.dialled, reached(trap)) == ([], 0)


@pytest.mark.parametrize("url", REFUSED)
def test_by_a_webhook(trap: Trap, url: str) -> None:
    poster = Poster([], "secret", ask=trap.ask)
    poster._dialler._dial = trap.dial
    with pytest.raises(FetchRefused):
        poster.post(url, "{}", 1)
    assert (trap.dialled, reached(trap)) == ([], 0)


def test_a_name_is_looked_up_once_and_what_was_checked_is_what_is_connected(trap: Trap) -> None:
    answers = [[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]]
    asked: list[str] = []

    def ask(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    dialled: list[str] = []

    def refuse(address: str, port: int, seconds: float) -> socket.socket:
        dialled.append(address)
        raise ConnectionRefusedError

    with pytest.raises(FetchFailed):
        Fetcher(ask=ask, dial=refuse).fetch("http://turns.example/", io.BytesIO())
    assert (asked, dialled) == (["turns.example"], [PUBLIC])


def test_of_several_addresses_only_the_public_ones_are_tried() -> None:
    found = ["127.0.0.1", PUBLIC, "::1", "10.0.0.1", "2606:4700::1111", "fe80::1%2"]
    dialled: list[str] = []

    def refuse(address: str, port: int, seconds: float) -> socket.socket:
        dialled.append(address)
        raise ConnectionRefusedError

    with pytest.raises(FetchFailed, match="does not answer"):
        Fetcher(ask=lambda host, port: found, dial=refuse).fetch("http://mixed.example/", io.BytesIO())
    assert dialled == [PUBLIC, "2606:4700::1111"]


def test_what_was_connected_in_truth_is_checked_before_a_byte_is_sent(trap: Trap) -> None:
    with pytest.raises(FetchRefused, match="connected at no public address"):
        fetched(trap, HARMLESS)
    assert trap.dialled == [(PUBLIC, 80)]
    assert trap.listener.requests == []


def test_this_machines_own_addresses_are_not_public_to_it() -> None:
    from enrich.outbound.connections import _is_own

    assert _is_own("127.0.0.1")
    assert not _is_own(PUBLIC)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"])
def test_proxy_variables_are_ignored(trap: Trap, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(lambda request: response(b"by the proxy")) as proxy:
        monkeypatch.setenv(variable, proxy.url())
        assert fetched(trap, "http://loopback.example/", "loopback.example") == b"a secret"
        assert proxy.connections == 0
