"""Every operation of the published page, fuzzed by schemathesis: no 5xx, nothing undocumented.

Made of the page alone: what schemathesis thinks up by itself, valid and not, and then valid calls
of things that exist. The same examples at every run.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scripts.gen_reference import published
from tests.server.fuzzing import BEARER, KNOWN, UNREACHABLE, Known, World

SCHEMA = schemathesis.openapi.from_dict(published())
# A NUL can be said in JSON, but no text may hold one; the page says so in words only.
SCHEMA.config.generation.update(with_security_parameters=False, allow_x00=False)
STREAMS = ("openStream", "openEvents")
_CHECKS = [
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_headers_conformance, response_schema_conformance, negative_data_rejection),
]
_WAIT_SECONDS = 0.01
_PROFILE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_FOUND: list[Any] = [found.ok() for found in SCHEMA.get_all_operations()]  # type: ignore[union-attr]
OPERATIONS = {found.definition.raw["operationId"]: found for found in _FOUND}


def _answer(case: "schemathesis.Case[Any]", world: World) -> schemathesis.Response:
    """Streams are read no further than their head, and nothing is waited for long."""
    if "wait" in (case.query or {}) and case.meta is not None:
        case.query["wait"] = _shorter(case.query["wait"])
    given = case.as_transport_kwargs(base_url=world.relay.url, headers=BEARER)
    is_stream = case.operation.definition.raw["operationId"] in STREAMS
    answer = world.session.request(**given, stream=is_stream, timeout=20)
    if is_stream and answer.ok:
        answer.close()
        answer._content = b""
    return schemathesis.Response.from_requests(answer, verify=True)


def _shorter(wait: Any) -> Any:
    try:
        return min(float(wait), _WAIT_SECONDS) if 0 <= float(wait) <= 60 else wait
    except (TypeError, ValueError):
        return wait


@SCHEMA.parametrize()
@settings(_PROFILE, max_examples=10)
def test_whatever_comes_is_answered_as_documented(
    case: "schemathesis.Case[Any]", world: World
) -> None:
    case.validate_response(_answer(case, world), checks=_CHECKS)


def test_what_is_known_is_on_the_page() -> None:
    assert KNOWN.keys() | UNREACHABLE | set(STREAMS) <= OPERATIONS.keys()


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - UNREACHABLE))
@given(data=st.data())
@settings(_PROFILE, max_examples=8)
def test_valid_calls_of_what_exists_succeed(name: str, data: st.DataObject, world: World) -> None:
    case = data.draw(OPERATIONS[name].as_strategy(GenerationMode.POSITIVE))
    known = KNOWN[name](world) if name in KNOWN else Known()
    _put(case, known)

    answer = _answer(case, world)

    case.validate_response(answer, checks=_CHECKS)
    assert answer.status_code < 300, (case.as_curl_command(), answer.text)


def _put(case: "schemathesis.Case[Any]", known: Known) -> None:
    case.path_parameters = {**(case.path_parameters or {}), **known.path}
    case.query = known.query
    case.headers.clear()
    case.headers.update(known.headers)
    if known.body is not None:
        case.body = known.body
    elif known.fields:
        body = case.body if isinstance(case.body, dict) else {}
        given = {**body, **known.fields}
        case.body = {name: value for name, value in given.items() if value is not None}
