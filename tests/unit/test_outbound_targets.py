"""URLs are read in one way only, and the allow-list opens what it names."""

import pytest

from enrich.errors import FetchRefused
from enrich.outbound import AllowList, check_url
from enrich.outbound.targets import parse


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://example.org", "http://example.org", "/"),
        ("HTTPS://Example.ORG:443/A%20b", "https://example.org", "/A%20b"),
        ("https://example.org:80/", "https://example.org:80", "/"),
        ("http://example.org./x?", "http://example.org", "/x"),
        ("  http://example.org/my photo.jpg?a=b c#part ", "http://example.org", "/my%20photo.jpg?a=b%20c"),
        ("http://bücher.example/é?ü=ß", "http://xn--bcher-kva.example", "/%C3%A9?%C3%BC=%C3%9F"),
        ("http://[2606:4700::0:1111]:8080/", "http://[2606:4700::1111]:8080", "/"),
        ("http://[::ffff:8.8.8.8]/", "http://8.8.8.8", "/"),
        ("http://my_nas.local:5000/a?url=http://b/", "http://my_nas.local:5000", "/a?url=http://b/"),
    ],
)
def test_what_a_url_says(url: str, origin: str, path: str) -> None:
    target = parse(url)
    assert (str(target), target.path) == (origin, path)


@pytest.mark.parametrize(
    "url",
    [
        "", "/etc/passwd", "//example.org/x", "example.org/x", "ftp://example.org/", "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO", "data:image/png;base64,AAAA", "javascript:alert(1)",
        "http:example.org",
        "http://", "http:///x", "http://:80/", "http://example.org:/", "http://example.org:0/",
        "http://example.org:65536/", "http://example.org:-1/", "http://example.org:8o/",
        "http://user@example.org/", "http://user:password@example.org/", "http://@example.org/",
        "http://a@b@example.org/", "http://example.org\\@127.0.0.1/", "http://example.org/\r\nHost: other",
        "http://exa mple.org/", "http://example.org\t/", "http://exa\x00mple.org/", "http://example..org/",
        "http://-a.org/", "http://a%2eb.org/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
        "http://0177.0.0.1/", "http://1.2.3.4.5/", "http://example.1/", "http://example.0x7/",
        "http://[::1/", "http://::1/", "http://[::1]a.org/", "http://a.org[::1]/", "http://[fe80::1%25eth0]/",
        "http://[v1.a:b]/", "http://[127.0.0.1]/",
        "http://" + "a" * 64 + ".org/", "http://" + "a." * 130 + "org/",
        "http://example.org/" + "a" * 8192,
    ],
)  # fmt: skip
def test_what_is_refused_before_any_name_is_looked_up(url: str) -> None:
    with pytest.raises(FetchRefused) as refused:
        parse(url)
    assert "password" not in str(refused.value).replace("a user or password", "")
    assert not refused.value.retryable


def test_a_target_shows_no_path_and_no_query() -> None:
    target = parse("https://example.org/T0/B0/secret?token=secret")
    assert "secret" not in f"{target} {target!r}"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b", "http://example.org:81/b"),
        ("c d", "http://example.org:81/a/c%20d"),
        ("?q", "http://example.org:81/a/x?q"),
        ("//other.example/", "http://other.example/"),
        ("HTTPS://other.example:8443/?a", "https://other.example:8443/?a"),
    ],
)
def test_where_a_redirect_leads(location: str, leads_to: str) -> None:
    target = parse("http://example.org:81/a/x").follow(location)
    assert f"{target}{target.path}" == leads_to


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://a@b/", "\\\\host", "/a\r\nX: y", "http://[::1"]
)
def test_redirects_that_are_refused(location: str) -> None:
    with pytest.raises(FetchRefused):
        parse("http://example.org/").follow(location)


@pytest.mark.parametrize(
    ("entry", "opened", "closed"),
    [
        ("nas", ["http://nas/", "https://NAS./", "http://nas:5000/"], ["http://nas.local/", "http://a.nas/"]),
        ("NAS.local:5000", ["http://nas.local:5000/", "https://nas.local:5000/"], ["http://nas.local/"]),
        (
            "*.example.org",
            ["http://a.example.org/", "http://a.b.example.org:99/"],
            ["http://example.org/", "http://aexample.org/", "http://example.org.evil/"],
        ),
        ("*.example.org:8080", ["http://a.example.org:8080/"], ["http://a.example.org/"]),
        ("127.0.0.1", ["http://127.0.0.1:1/", "http://[::ffff:127.0.0.1]/"], ["http://127.0.0.2/", "http://localhost/"]),
        ("[::1]:8080", ["http://[::1]:8080/", "http://[0:0::1]:8080/"], ["http://[::1]/"]),
        ("[::1]", ["http://[::1]:8080/"], ["http://[::2]/"]),
        ("bücher.example", ["http://xn--bcher-kva.example/"], ["http://bucher.example/"]),
    ],
)  # fmt: skip
def test_what_an_entry_opens(entry: str, opened: list[str], closed: list[str]) -> None:
    allowed = AllowList([entry])
    assert [url for url in opened if not allowed.opens(parse(url))] == []
    assert [url for url in closed if allowed.opens(parse(url))] == []


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.", "*.*", "a.*.org", "http://nas", "nas/", "nas:", "nas:0", "nas:70000", "nas:x", "127.1",
     "*.0.0.1", "*.127.0.0.1", "10.0.0.0/8", "a@b", "::1", "[::1", "[nas]:x", "0177.0.0.1"],
)  # fmt: skip
def test_an_entry_that_is_no_host(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host; write host, host:port"):
        AllowList([entry])


def test_what_can_never_be_posted_to_is_known_at_once() -> None:
    check_url("https://example.org/hook?token=t")
    check_url("http://127.0.0.1:9000/", ["127.0.0.1:9000"])
    for url in ("http://127.0.0.1/", "http://example.org:8080/", "ftp://example.org/", "http://[::1]/"):
        with pytest.raises(FetchRefused):
            check_url(url)
