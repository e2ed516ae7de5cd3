"""Every snippet of docs/http.md, run as it stands but for host, key and picture."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_kit import PLENTY, Host, Server, hosting, make_key, picture, serving
from workplace import Workplace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "http.md"
SNIPPETS = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
ASKING = [(language, code) for language, code in SNIPPETS if "8080" in code]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosting() as host:
        host.files["/picture.jpg"] = picture(3, "JPEG")
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("snippets")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.config["api"] = {"rate_limit": PLENTY, "allow_hosts": ["127.0.0.1"]}
    make_key(place, "tests")
    with serving(place, is_forked=False) as server:
        yield server
    place.engine.dispose()


def test_every_dialect_has_snippets_of_both_kinds() -> None:
    for path in ("/v1", "/v1/tasks", "/generate_content", "/caption", "/v2/image-to-text"):
        assert {language for language, code in ASKING if path in code} == {"sh", "python"}, path


@pytest.mark.parametrize(("language", "code"), ASKING, ids=[code.split("8080")[1][:24] for _, code in ASKING])
def test_a_snippet_does_what_it_says(
    server: Server, host: Host, tmp_path: Path, language: str, code: str
) -> None:
    if language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "picture.jpg").write_bytes(picture(3, "JPEG"))
    key = server.place.keys["tests"]
    code = code.replace("http://127.0.0.1:8080", server.url).replace("https://example.org", host.url)
    code = re.sub(r"\bKEY\b", key, code)
    command = ["bash", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert "error" not in ran.stdout.replace('"errors":[]', "").lower()


def test_the_check_of_a_signature_is_right() -> None:
    from enrich.outbound import sign

    (code,) = [code for language, code in SNIPPETS if "def is_ours" in code]
    scope: dict[str, object] = {}
    exec(code, scope)
    header = sign("whisper", 1789000000, b'{"data": []}')
    assert scope["is_ours"](b"whisper", header, b'{"data": []}')  # type: ignore[operator]  # it is a function
    assert not scope["is_ours"](b"whisper", header, b'{"data": [1]}')  # type: ignore[operator]  # as above
