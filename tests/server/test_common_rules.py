"""The contract's common rules, on every operation of the published page that they are about."""

import json
import socket
from typing import Any

import httpx
import pytest

from relay_server import __version__
from relay_server.wire import MAX_BODY_BYTES, MAX_REQUEST_BYTES
from scripts.gen_reference import published
from scripts.reference_types import example
from tests.server.conftest import StartRelay
from tests.server.fuzzing import BEARER, KNOWN, Known, World
from tests.server.running import RunningRelay

Json = dict[str, Any]
PATHS: dict[str, dict[str, Json]] = published()["paths"]
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, operations in PATHS.items()
    for method, operation in operations.items()
}


def _schema(name: str) -> Json:
    body = OPERATIONS[name][2].get("requestBody", {"content": {}})["content"]
    return dict(body.get("application/json", {}).get("schema", {}))


def _has(name: str, parameter: str) -> bool:
    return any(each["name"] == parameter for each in OPERATIONS[name][2]["parameters"])


# What is open to anyone's fields is another product's.
WITH_BODY = [name for name in OPERATIONS if _schema(name).get("additionalProperties") is False]
CREATING = [name for name in OPERATIONS if _has(name, "Idempotency-Key")]
WITH_LIMIT = [name for name in OPERATIONS if _has(name, "limit")]


def _known(world: World, name: str) -> Known:
    make = KNOWN.get(name)
    return Known() if make is None else make(world)


def _address(name: str, known: Known) -> tuple[str, str]:
    method, path, _ = OPERATIONS[name]
    return method, path.format(**known.path)


def _call(world: World, name: str, **options: Any) -> httpx.Response:
    """Call it with something that exists in its path."""
    method, path = _address(name, _known(world, name))
    headers = {**BEARER, **options.pop("headers", {})}
    return world.relay.client.request(method, path, headers=headers, **options)


def _filled(name: str, known: Known) -> Json:
    schema = _schema(name)
    needed = {word: example(word, schema["properties"][word]) for word in schema["required"]}
    given = {**needed, **known.fields}
    return {word: value for word, value in given.items() if value is not None}


# -- bodies


@pytest.mark.parametrize("name", WITH_BODY)
def test_an_unknown_field_is_422_and_named(world: World, name: str) -> None:
    answer = _call(world, name, json={"nope": 1})

    assert answer.status_code == 422
    assert "nope" in {error["field"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize(
    ("content_type", "raw", "status"),
    [
        ("application/json", b"{", 400),
        ("text/plain", b"{}", 415),
        ("application/json", b'"' + b"x" * MAX_REQUEST_BYTES + b'"', 413),
    ],
)
def test_what_is_no_json_object_is_refused(
    world: World, name: str, content_type: str, raw: bytes, status: int
) -> None:
    answer = _call(world, name, content=raw, headers={"Content-Type": content_type})

    assert answer.status_code == status


def test_a_request_may_have_exactly_a_mebibyte(relay_server: RunningRelay) -> None:
    given = {"from": "operator", "to": "operator", "body": "x", "payload": {"text": ""}}
    rest = MAX_REQUEST_BYTES - len(json.dumps(given).encode())
    headers = {"Content-Type": "application/json"}

    def send(size: int) -> httpx.Response:
        raw = json.dumps({**given, "payload": {"text": "x" * size}}).encode()
        return relay_server.client.post("/api/messages", content=raw, headers=headers)

    assert (send(rest).status_code, send(rest + 1).status_code) == (201, 413)


@pytest.mark.parametrize("text", ["x" * MAX_BODY_BYTES, "\u20ac" * (MAX_BODY_BYTES // 3)])
def test_a_message_may_have_64_kibibytes_of_utf8(relay_server: RunningRelay, text: str) -> None:
    given = {"from": "operator", "to": "operator", "body": text}

    fits = relay_server.client.post("/api/messages", json=given)
    longer = relay_server.client.post("/api/messages", json={**given, "body": text + "xx"})

    assert (fits.status_code, longer.status_code) == (201, 422)
    assert fits.json()["body"] == text


def test_a_whole_number_may_be_written_with_a_fraction_of_zero(world: World) -> None:
    def claim(seconds: float) -> int:
        path = f"/api/messages/{world.message()}/claim"
        given = {"agentId": "a", "leaseSeconds": seconds}
        return world.relay.client.post(path, json=given, headers=BEARER).status_code

    assert [claim(seconds) for seconds in (900, 900.0, 900.5, -1.0)] == [200, 200, 422, 422]


FOREIGN = {"Ümlaut": [None, {"snake_case": 1.5, "": True}], "id": "mine", "nope": "\u2028", "n": 2}


def test_what_senders_keep_with_us_comes_back_verbatim(relay_server: RunningRelay) -> None:
    meta = relay_server.agent("a", meta=FOREIGN)["meta"]
    payload = relay_server.send("a", "operator", payload=FOREIGN)["payload"]
    given = {"title": "t", "target": "operator", "metadata": FOREIGN}
    metadata = relay_server.client.post("/api/tasks", json=given).json()["metadata"]

    for kept in (meta, payload, metadata):
        assert json.dumps(kept) == json.dumps(FOREIGN)


# -- names


@pytest.mark.parametrize(
    ("field", "fits", "does_not"),
    [
        ("id", "a" * 128, "a" * 129),
        ("id", "Az0._-", "a/b"),
        ("label", "\u00e9" * 80, "\u00e9" * 81),
        ("tags", ["a" * 64], ["a" * 65]),
        ("tags", ["A/z0._-"], ["a b"]),
        ("capabilities", [f"c{n}" for n in range(64)], [f"c{n}" for n in range(65)]),
        ("channels", ["ops/db"], [""]),
    ],
)
def test_names_have_their_limits(
    relay_server: RunningRelay, field: str, fits: Any, does_not: Any
) -> None:
    def register(value: Any) -> httpx.Response:
        return relay_server.client.post("/api/agents", json={"id": "a", field: value})

    refused = register(does_not)

    assert register(fits).json()[field] == fits
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


# -- lists


@pytest.mark.parametrize("name", WITH_LIMIT)
@pytest.mark.parametrize(
    ("limit", "status"),
    [("1", 200), ("500", 200), ("0", 422), ("501", 422), ("-1", 422), ("x", 422), ("1.5", 422)],
)
def test_a_limit_is_1_to_500(world: World, name: str, limit: str, status: int) -> None:
    answer = _call(world, name, params={"limit": limit})

    assert answer.status_code == status
    assert status == 200 or answer.json()["errors"][0]["field"] == "limit"


def test_without_a_limit_a_list_has_50(relay_server: RunningRelay) -> None:
    for _ in range(51):
        relay_server.send("operator", "operator")

    answer = relay_server.client.get("/api/messages").json()

    assert (len(answer["messages"]), answer["more"]) == (50, True)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("listAgents", {"agents"}),
        ("listMessages", {"messages", "cursor", "more"}),
        ("listTasks", {"tasks", "more"}),
        ("listApprovals", {"approvals"}),
        ("listMachines", {"machines"}),
        ("listTokens", {"tokens"}),
        ("getTaskEvents", {"events"}),
        ("getTaskCallbacks", {"callbacks"}),
        ("listCommands", {"commands"}),
    ],
)
def test_lists_come_in_an_envelope(world: World, name: str, members: set[str]) -> None:
    # More than the contract names may be there; what it names must.
    assert members <= set(_call(world, name).json())


# -- methods and paths


@pytest.mark.parametrize("path", PATHS)
def test_wrong_methods_are_405_and_allow_names_the_right_ones(world: World, path: str) -> None:
    right = {method.upper() for method in PATHS[path]}
    wrong = min({"GET", "POST", "PUT", "PATCH", "DELETE"} - right)
    address = path.replace("{", "").replace("}", "")

    answer = world.relay.client.request(wrong, address, headers=BEARER)

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == right
    assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/api/")])
def test_below_a_path_there_is_nothing_else(world: World, path: str) -> None:
    address = path.replace("{", "").replace("}", "") + "/nope/nope/nope"

    assert world.relay.client.get(address, headers=BEARER).json()["code"] == "not_found"


# -- idempotency


@pytest.mark.parametrize("name", CREATING)
def test_a_key_gives_the_first_answer_again_and_refuses_another_body(
    world: World, name: str
) -> None:
    known = _known(world, name)
    method, path = _address(name, known)
    headers = {**BEARER, "Idempotency-Key": f"key-{name}"}
    body = _filled(name, known)

    def call(given: Json) -> httpx.Response:
        return world.relay.client.request(method, path, json=given, headers=headers)

    first, again = call(body), call(body)
    optional = _schema(name)["properties"].keys() - body.keys() - {"idempotencyKey"}
    other = call({**body, _changeable(name, optional): None})

    assert first.status_code in (200, 201, 202), first.text
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def _changeable(name: str, optional: set[str]) -> str:
    """A field that may be null."""
    fields = _schema(name)["properties"]
    return min(word for word in optional if _takes_null(fields[word]))


def _takes_null(field: Json) -> bool:
    kinds = field.get("type", [])
    return "null" in kinds or None in field.get("enum", []) or "anyOf" in field


@pytest.mark.parametrize("name", CREATING)
@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "\u00e9"])
def test_a_key_is_1_to_255_visible_ascii(world: World, name: str, key: str) -> None:
    known = _known(world, name)
    headers = {"Idempotency-Key": key.encode()}

    answer = _call(world, name, json=_filled(name, known), headers=headers)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


# -- what every answer carries


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /healthz HTTP/1.1",
        b"GET /api/agents HTTP/1.1",
        b"GET /nope HTTP/1.1",
        b"GET / HTTP/1.1",
        b"POST /api/messages HTTP/1.1\r\nContent-Length: 99999999",
        b"GET /\x00 nonsense",
        b"GET /api/stream?agent=a HTTP/1.1",
    ],
)
def test_every_answer_has_an_id_and_the_version_but_no_server(
    start_relay: StartRelay, request_line: bytes
) -> None:
    relay = start_relay()
    relay.agent("a")
    with socket.create_connection(("127.0.0.1", relay.server.port), timeout=10) as connection:
        connection.sendall(request_line + b"\r\nHost: localhost\r\n\r\n")
        head = connection.recv(65536).split(b"\r\n\r\n")[0].decode().splitlines()

    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
    assert headers["x-request-id"]
    assert headers["x-agent-relay-version"] == __version__
    assert "server" not in headers
