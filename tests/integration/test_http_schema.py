"""The OpenAPI document held against the running server: no 5xx, nothing that it does not declare."""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from http_kit import PLENTY, Server, make_key, serving
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from workplace import Workplace

_EXAMPLES = 8
#: A path or a method that generation bent is answered by nobody in particular.
_NOBODYS = {404: "there is no such path", 405: "not by "}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("schema")
    place = Workplace(folder, f"sqlite:///{folder / 'catalog.db'}")
    place.draw("inbox.png", (200, 10, 10))
    place.config["api"] = {"rate_limit": PLENTY, "sync_timeout_seconds": 5}
    make_key(place, "all", "--scope", "infer", "--scope", "read")
    place.run()
    with serving(place) as server:
        yield server
    place.engine.dispose()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("with_key", [True, False], ids=["key", "no key"])
def test_no_request_makes_it_fail_or_answer_what_it_does_not_declare(server: Server, with_key: bool) -> None:
    key = server.place.keys["all"] if with_key else None
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:
            try:
                _try_all(operation, mode, key, tried)
            except hypothesis.errors.Unsatisfiable:  # nothing is wrong for a path that takes nothing
                continue
    assert len(tried) >= 13
    seen = set().union(*tried.values())
    assert seen >= ({200, 400, 404} if with_key else {200, 401}), seen


def _try_all(
    operation: Any, mode: schemathesis.GenerationMode, key: str | None, tried: dict[str, set[int]]
) -> None:
    @hypothesis.settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: schemathesis.Case) -> None:
        answer = case.call(headers={} if key is None else {"Authorization": f"Bearer {key}"})
        tried.setdefault(operation.label, set()).add(answer.status_code)
        said = (answer.status_code, answer.text[:500], case.as_curl_command())
        assert answer.status_code < 500, said
        nobodys = _NOBODYS.get(answer.status_code)
        if nobodys is not None and nobodys in answer.text:
            return
        assert str(answer.status_code) in operation.definition.raw["responses"], said
        case.validate_response(answer, checks=[content_type_conformance, response_schema_conformance])

    attempt()
