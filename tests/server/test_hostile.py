"""What no honest client sends: right 4xx for all of it, and not a word in the log above INFO.

Every operation of the published page is tried; connections are in tests of their own.
"""

import json
import logging
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.server.running import RunningRelay

MEBIBYTE = 1024 * 1024
DEEPEST = 100
# Values for the names in paths, so that each path is one that could be.
PATH_VALUES = {
    **dict.fromkeys(("messageId", "taskId", "approvalId", "commandId", "tokenId"), "1"),
    "agentId": "a",
    "machineId": "m",
    "streamId": "s",
    "integration": "hooks",
}
# These say who calls by their body's signature, before anything is parsed.
SIGNED = {"receiveGithub"}
# Whatever object comes: its sender's format is not ours.
FOREIGN = {"receiveAlertmanager", "receiveGithub"}


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    body: dict[str, Any] | None
    query: frozenset[str]

    def __str__(self) -> str:
        return self.name


class Collected(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module", autouse=True)
def nothing_is_logged() -> Iterator[None]:
    """A client's mistake is no concern of whoever runs the relay."""
    collected = Collected()
    logging.getLogger().addHandler(collected)
    yield
    logging.getLogger().removeHandler(collected)
    assert collected.lines == []


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """With an agent and a claimable message, and nobody limited."""
    made = RunningRelay(
        tmp_path_factory.mktemp("hostile"),
        AGENT_RELAY_SENDER_LIMIT="0",
        AGENT_RELAY_LOOP_LIMIT="0",
        AGENT_RELAY_INTEGRATIONS=json.dumps(
            [{"name": "hooks", "token": "t", "scopes": [], "webhookSecret": "signs"}]
        ),
    )
    made.agent("a", machine="m")
    made.send("operator", "a", claimable=True)
    yield made
    # After all of this it still works.
    assert made.client.get("/healthz").status_code == 200
    assert made.client.get("/api/messages?limit=500").status_code == 200
    assert made.client.get("/api/agents").status_code == 200
    assert made.client.get("/api/tasks").status_code == 200
    made.stop()


@pytest.fixture(scope="module")
def page(relay: RunningRelay) -> dict[str, Any]:
    return dict(relay.client.get("/api/openapi.json").json())


@pytest.fixture(scope="module")
def operations(page: dict[str, Any]) -> list[Operation]:
    found = []
    for path, methods in page["paths"].items():
        for method, described in methods.items():
            content = described.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            found.append(
                Operation(
                    described["operationId"],
                    method.upper(),
                    re.sub(r"\{(\w+)\}", lambda m: PATH_VALUES[m[1]], path),
                    None if schema is None else _resolved(page, schema),
                    frozenset(
                        p["name"] for p in described.get("parameters", ()) if p["in"] == "query"
                    ),
                )
            )
    return found


@pytest.fixture(scope="module")
def with_body(operations: list[Operation]) -> list[Operation]:
    found = [o for o in operations if o.body is not None]
    assert len(found) > 20
    return found


def _resolved(page: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = page["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _sent(
    relay: RunningRelay, operation: Operation, raw: bytes, content_type: str = "application/json"
) -> httpx.Response:
    headers = {"Content-Type": content_type}
    path = f"{operation.path}?target=operator" if operation.name in FOREIGN else operation.path
    return relay.client.request(operation.method, path, content=raw, headers=headers)


def _is_problem(answer: httpx.Response, *statuses: int) -> bool:
    if answer.status_code not in statuses:
        return False
    problem = answer.json()
    return (
        answer.headers["Content-Type"] == "application/problem+json"
        and problem["status"] == answer.status_code
        and re.fullmatch("[a-z_]+", problem["code"]) is not None
    )


def _nested(depth: int, opening: str, closing: str, inner: str = "1") -> str:
    return opening * depth + inner + closing * depth


# -- bodies that are no JSON, or not ours


MALFORMED = {
    "nothing but a brace": b"{",
    "cut off": b'{"id": "a"',
    "followed by more": b'{"id": "a"} x',
    "a byte order mark": b'\xef\xbb\xbf{"id": "a"}',
    "UTF-16": '{"id": "a"}'.encode("utf-16"),
    "bad UTF-8": b'{"id": "\xff\xfe"}',
    "an encoded surrogate": b'{"id": "\xed\xa0\x80"}',
    "overlong UTF-8": b'{"id": "\xc0\x80"}',
    "a raw NUL": b'{"id": "a\x00"}',
    "a raw line feed": b'{"id": "a\n"}',
    "NaN": b'{"id": NaN}',
    "Infinity": b'{"id": Infinity}',
    "minus Infinity": b'{"id": -Infinity}',
    "single quotes": b"{'id': 'a'}",
    "a comment": b'{"id": "a" /* b */}',
    "a comma too many": b'{"id": "a",}',
    "leading zeros": b'{"id": 007}',
    "5,000 digits": b'{"id": ' + b"9" * 5000 + b"}",
    "a name twice": b'{"id": "a", "id": "b"}',
    "a name twice, one escaped": b'{"id": "a", "\\u0069d": "b"}',
    "a name twice further in": b'{"meta": {"x": {"a": 1, "a": 2}}}',
    "100,000 lists": _nested(100_000, "[", "]").encode(),
    "100,000 objects": _nested(100_000, '{"a":', "}").encode(),
    "100,000 lists unclosed": b"[" * 100_000,
    "101 levels": ('{"meta": ' + _nested(DEEPEST, "[", "]") + "}").encode(),
    "500 levels with an escape": ('{"meta":' + _nested(500, '{"\\u0061":', "}") + "}").encode(),
    "985 levels": ('{"meta": ' + _nested(985, "[", "]") + "}").encode(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_json_of_ours_is_400_everywhere(
    relay: RunningRelay, with_body: list[Operation], what: str
) -> None:
    for operation in with_body:
        answer = _sent(relay, operation, MALFORMED[what])
        wanted = 401 if operation.name in SIGNED else 400
        assert _is_problem(answer, wanted), (operation.name, answer.status_code, answer.text[:200])


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"1", b"true", b"null", b"[{}]", b'[["id","a"]]'])
def test_what_is_no_object_is_422_everywhere(
    relay: RunningRelay, with_body: list[Operation], raw: bytes
) -> None:
    for operation in with_body:
        answer = _sent(relay, operation, raw)
        wanted = 401 if operation.name in SIGNED else 422
        assert _is_problem(answer, wanted), (operation.name, answer.text[:200])


@pytest.mark.parametrize(
    "member",
    [
        '"nobodyKnowsThis": 1',
        '"a\\u0000": 1',
        '"\\ud800": 1',
        '"meta": {"a": {"\\udfff": 1}}',
        '"metadata": {"a": ["\\u0000"]}',
        '"payload": {"a": "\\ud83d"}',
        '"body": "\\u0000"',
        '"from": "\\udc00\\ud800"',
        '"__proto__": {}',
        '"": 1',
    ],
)
def test_unknown_names_and_unstorable_characters_are_422_everywhere(
    relay: RunningRelay, with_body: list[Operation], member: str
) -> None:
    for operation in with_body:
        answer = _sent(relay, operation, b"{" + member.encode() + b"}")
        wanted = 401 if operation.name in SIGNED else 422
        assert _is_problem(answer, wanted), (operation.name, answer.text[:200])
        if operation.name not in SIGNED:
            assert answer.json()["errors"]


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data"),
        *("application/json; charset=latin-1", "application/json;x=y; charset=utf-16", "*/*", ""),
        "application/problem+json",
    ],
)
def test_other_content_types_are_415_everywhere(
    relay: RunningRelay, with_body: list[Operation], content_type: str
) -> None:
    for operation in with_body:
        answer = _sent(relay, operation, b'{"id": "a"}', content_type)
        wanted = 401 if operation.name in SIGNED else 415
        assert _is_problem(answer, wanted), (operation.name, answer.text[:200])


def test_a_byte_more_than_a_mebibyte_is_413_everywhere(
    relay: RunningRelay, with_body: list[Operation]
) -> None:
    frame = b'{"body": ""}'
    fits = frame[:-2] + b"x" * (MEBIBYTE - len(frame)) + frame[-2:]
    assert len(fits) == MEBIBYTE
    for operation in with_body:
        assert _is_problem(_sent(relay, operation, fits + b" "), 413), operation.name
        assert not _is_problem(_sent(relay, operation, fits), 413), operation.name


@pytest.mark.parametrize("character", ["x", "ä", "€", "\U0001f600", '"', "\u2028"])
def test_a_message_holds_64_kib_counted_in_bytes(relay: RunningRelay, character: str) -> None:
    size = len(character.encode())
    fits = character * (65536 // size) + "x" * (65536 % size)

    def post(body: str) -> httpx.Response:
        return relay.client.post("/api/messages", json={"from": "a", "to": "a", "body": body})

    assert post(fits).json()["body"] == fits
    for too_long in (fits + "x", character + fits, fits[:-1] + character + "x"):
        answer = post(too_long)
        assert _is_problem(answer, 422)
        assert answer.json()["errors"][0]["field"] == "body"


def test_a_result_larger_than_a_message_is_kept_whole_beside_a_shortened_body(
    relay: RunningRelay,
) -> None:
    work = relay.send("operator", "a", claimable=True)["id"]
    result = {"rows": ["ä" * 1000] * 100}
    for verb, more in (("claim", {}), ("complete", {"result": result})):
        answer = relay.client.post(f"/api/messages/{work}/{verb}", json={"agentId": "a", **more})
        assert answer.status_code == 200

    reply = relay.client.get(f"/api/messages/{work}/thread").json()["messages"][-1]

    assert reply["payload"] == result
    assert len(reply["body"].encode()) <= 65536


def test_what_is_nested_as_deep_as_allowed_is_kept_and_shown(relay: RunningRelay) -> None:
    # Inside of the body's own object and the payload's.
    payload = json.loads('{"\\u0061": ' + _nested(DEEPEST - 2, "[", "]") + "}")

    sent = relay.send("operator", "a", payload=payload)

    assert sent["payload"] == payload
    assert relay.client.get(f"/api/messages/{sent['id']}").json()["payload"] == payload
    assert relay.client.get("/api/messages?for=a&since=0&limit=500").status_code == 200


def test_brackets_in_a_text_are_no_nesting(relay: RunningRelay) -> None:
    assert relay.send("operator", "a", "[{" * 1000)["body"] == "[{" * 1000


# -- every field of every request


# By JSON type: what a field of another type is given.
SAMPLES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [0, -1, 2**31, 2**53, -(2**63), 10**400],
    "number": [1.5, 1e308, 5e-324],
    "string": ["", " ", "\u202e", "x" * 100_000],
    "array": [[], [[]], [None], [{}], ["x"] * 2000],
    "object": [{}, {"a": None}, {"": ""}],
}


def _types(schema: dict[str, Any]) -> set[str]:
    """What the page says the field may be; empty: anything."""
    if "anyOf" in schema:
        return set[str]().union(*(_types(part) for part in schema["anyOf"]))
    if "enum" in schema and "type" not in schema:
        return {"null" if word is None else "string" for word in schema["enum"]}
    found = schema.get("type", [])
    types = {found} if isinstance(found, str) else set(found)
    return types | {"integer"} if "number" in types else types


def test_the_wrong_type_is_422_and_named_in_every_field_of_every_request(
    relay: RunningRelay, with_body: list[Operation]
) -> None:
    tried = 0
    for operation in with_body:
        if operation.name in FOREIGN:
            continue
        assert operation.body is not None
        for name, schema in operation.body["properties"].items():
            accepted = _types(schema)
            for kind, values in SAMPLES.items():
                for value in values:
                    answer = _sent(relay, operation, json.dumps({name: value}).encode())
                    at = (operation.name, name, str(value)[:40], answer.text[:300])
                    assert answer.status_code < 500, at
                    if accepted and kind not in accepted:
                        assert _is_problem(answer, 422), at
                        assert name in {e["field"] for e in answer.json()["errors"]}, at
                    tried += 1
    assert tried > 2000


def test_a_character_or_an_entry_too_many_is_422_in_every_field(
    relay: RunningRelay, with_body: list[Operation]
) -> None:
    tried = 0
    for operation in with_body:
        for name, schema in (operation.body or {}).get("properties", {}).items():
            too_much: list[Any] = []
            if "maxLength" in schema:
                too_much += ["x" * (schema["maxLength"] + 1)]
            if "maxItems" in schema:
                too_much += [["x"] * (schema["maxItems"] + 1)]
            if "maximum" in schema:
                too_much += [schema["maximum"] + 1, schema["minimum"] - 1]
            for value in too_much:
                answer = _sent(relay, operation, json.dumps({name: value}).encode())
                assert _is_problem(answer, 422), (operation.name, name)
                assert name in {e["field"] for e in answer.json()["errors"]}
                tried += 1
    assert tried > 50


# -- queries and paths


@pytest.mark.parametrize(
    "query",
    [
        *("nobodyKnowsThis=1", "q=%00", "q=%ff", "q=%ED%A0%80", "limit=0", "limit=501"),
        *("limit=-1", "limit=1e2", "limit=%C2%B2", "limit=1&limit=2", "before=9" + "9" * 30),
        *("wait=61", "wait=NaN", "wait=-1", "wait=inf", "%00=1", "a%0d%0aX-Injected:%201=1"),
        "status=%22%3E%3Cscript%3E",
    ],
)
def test_odd_queries_are_422_or_404_everywhere(
    relay: RunningRelay, operations: list[Operation], query: str
) -> None:
    name = query.partition("=")[0]
    for operation in operations:
        # Probes add what they like to the address of /healthz.
        if operation.path == "/healthz" or (name == "q" and "q" not in operation.query):
            continue
        if operation.name in SIGNED or (name == "status" and "status" not in operation.query):
            continue
        answer = relay.client.request(operation.method, f"{operation.path}?{query}")
        assert _is_problem(answer, 404, 422), (operation.name, answer.text[:200])


@pytest.mark.parametrize(
    "value",
    [
        *("%00", "%ff", "%ED%A0%80", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%0d%0aX-Injected:%201"),
        *("x" * 5000, "-1", "0", "1.0", "1e3", "9" * 40, "%D9%A1", "'%20OR%201=1", "null", "%20"),
    ],
)
def test_odd_values_in_paths_are_404_or_422(
    relay: RunningRelay, page: dict[str, Any], value: str
) -> None:
    for path, methods in page["paths"].items():
        if "{" not in path:
            continue
        for method in methods:
            target = re.sub(r"\{\w+\}", lambda _: value, path)
            answer = relay.client.request(method.upper(), f"{relay.url}{target}")
            # An agent may be called -1, and a machine almost anything.
            assert answer.status_code in (200, 401, 403, 404, 405, 415, 422), (method, target)
            assert "x-injected" not in answer.headers
            if method == "get" and "machines" not in path:
                assert answer.status_code == 404, target


# -- headers


HEADERS_OF_OURS = {
    *("content-type", "content-length", "date", "x-request-id", "x-agent-relay-version"),
    *("cache-control", "x-content-type-options", "retry-after", "allow", "www-authenticate"),
    *("set-cookie", "idempotency-replayed", "connection", "x-accel-buffering", "vary"),
    "transfer-encoding",
}
INJECTION = "x\r\nX-Injected: 1\r\nSet-Cookie: a=b"


def test_no_value_becomes_a_header(relay: RunningRelay, with_body: list[Operation]) -> None:
    for operation in with_body:
        for name in (operation.body or {}).get("properties", {}):
            answer = _sent(relay, operation, json.dumps({name: INJECTION}).encode())
            assert set(answer.headers) <= HEADERS_OF_OURS, (operation.name, name, answer.headers)
            assert answer.status_code < 500


def _raw(relay: RunningRelay, head: bytes, body: bytes = b"") -> tuple[int, str]:
    """Status and everything of an answer to bytes that no client library sends."""
    with socket.create_connection(("127.0.0.1", relay.server.port), timeout=10) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n" + body)
        data = connection.makefile("rb").read()
    return int(data.split(b" ", 2)[1]), data.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "line",
    [
        b"X-Agent-Instance: " + b"x" * 129,
        b"X-Agent-Instance: a\x00b",
        b"Idempotency-Key: " + b"x" * 256,
        b"Idempotency-Key: a b",
        b"Idempotency-Key: \xff",
        b"Idempotency-Key: a\x0bX-Injected: 1",
        b"Content-Length: -1",
        b"Content-Length: 1e3",
        b"Transfer-Encoding: chunked, identity",
    ],
)
def test_odd_headers_are_4xx(relay: RunningRelay, line: bytes) -> None:
    body = b'{"id": "odd"}'
    length = b"" if line.startswith((b"Content-L", b"Transfer")) else b"Content-Length: 13\r\n"
    head = b"POST /api/agents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    status, answer = _raw(relay, head + length + line + b"\r\n", body)

    assert 400 <= status < 500 or status == 501
    assert "x-injected: 1" not in answer.lower().partition("\r\n\r\n")[0]


# -- Host and Origin


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.test",
            "null",
            "",
            "http://localhost.evil.test",
            "http://evil.test#localhost",
        ),
        *("file://", "http://localhost:1", "https://user@localhost", "chrome-extension://abc"),
    ],
)
def test_pages_of_other_origins_change_nothing_anywhere(
    relay: RunningRelay, operations: list[Operation], origin: str
) -> None:
    for operation in operations:
        if operation.method == "GET":
            continue
        answer = relay.client.request(
            operation.method, operation.path, json={}, headers={"Origin": origin}
        )
        assert _is_problem(answer, 403), (operation.name, answer.text[:200])
        assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "10.1.2.3:4850", "[::2]:80"])
def test_foreign_hosts_are_421_everywhere(
    relay: RunningRelay, operations: list[Operation], host: str
) -> None:
    paths = [(o.method, o.path) for o in operations]
    for method, path in [*paths, ("GET", "/"), ("GET", "/metrics"), ("GET", "/nope")]:
        answer = relay.client.request(method, path, json={}, headers={"Host": host})
        assert _is_problem(answer, 421), (method, path)


@pytest.mark.parametrize(
    "host",
    [
        *("user@localhost", "localhost@evil.test", "localhost:80:80", "localhost:evil", "[::1]x"),
        *("localhost:123456", "localhost/evil", "localhost, evil.test", "localhost evil", "127.1"),
        *("0x7f.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost..", "", "[::1", "::1"),
        *("\u00a0localhost", "loc\u0430lhost", "localhost\x0b"),
    ],
)
def test_hosts_that_only_look_like_ours_are_421(relay: RunningRelay, host: str) -> None:
    head = b"GET /api/agents HTTP/1.1\r\nHost: " + host.encode() + b"\r\n"

    status, _ = _raw(relay, head)

    assert status in (400, 421)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "localhost:", "127.0.0.1:4850", "[::1]:4850", "[::1]"]
)
def test_our_own_names_are_ours_however_they_are_written(relay: RunningRelay, host: str) -> None:
    assert _raw(relay, b"GET /api/agents HTTP/1.1\r\nHost: " + host.encode() + b"\r\n")[0] == 200


@pytest.mark.parametrize(
    ("line", "host", "status"),
    [
        ("GET http://localhost/healthz HTTP/1.1", "localhost", 200),
        ("GET http://evil.test/healthz HTTP/1.1", "localhost", 421),
        ("GET http://evil.test/healthz HTTP/1.1", "evil.test", 421),
        ("GET http://localhost/healthz HTTP/1.1", "evil.test", 421),
        ("GET http://user@localhost/healthz HTTP/1.1", "user@localhost", 421),
        ("OPTIONS * HTTP/1.1", "localhost", 404),
        ("CONNECT evil.test:80 HTTP/1.1", "localhost", 404),
    ],
)
def test_the_request_line_and_the_host_must_agree(
    relay: RunningRelay, line: str, host: str, status: int
) -> None:
    assert _raw(relay, f"{line}\r\nHost: {host}\r\n".encode())[0] == status


def test_no_host_and_two_hosts_are_refused(relay: RunningRelay) -> None:
    for hosts in (b"", b"Host: localhost\r\nHost: evil.test\r\n", b"Host: evil.test\r\n" * 2):
        assert _raw(relay, b"GET /api/agents HTTP/1.1\r\n" + hosts)[0] in (400, 421)
