"""What holds for every path: problems, limits, tokens, Host and Origin, headers, static files."""

import json
import socket

import httpx
import pytest

from relay_server import __version__
from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay


@pytest.fixture
def relay(relay_server: RunningRelay) -> RunningRelay:
    """With one agent."""
    relay_server.agent("a")
    return relay_server


def _is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    problem = answer.json()
    return (
        answer.status_code == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and problem["status"] == status
        and problem["code"] == code
        and {"type", "title", "detail"} <= set(problem)
    )


def _post(
    relay: RunningRelay, raw: bytes, content_type: str = "application/json"
) -> httpx.Response:
    headers = {"Content-Type": content_type}
    return relay.client.post("/api/messages", content=raw, headers=headers)


def test_unknown_paths_are_404(relay: RunningRelay) -> None:
    for path in ("/api", "/api/", "/api/nope", "/nope", "/../relay_server/cli.py", "/app"):
        assert _is_problem(relay.client.get(path), 404, "not_found"), path


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_wrong_methods_are_405_and_say_what_is_allowed(relay: RunningRelay, method: str) -> None:
    answer = relay.client.request(method, "/api/messages")

    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_a_method_nobody_knows_is_no_server_error(relay: RunningRelay) -> None:
    assert 400 <= relay.client.request("BREW", "/api/messages").status_code < 500


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"[" * 100_000,
        b'{"a": "\x00"}',
        b'{"pid": ' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_json_is_400(relay: RunningRelay, raw: bytes) -> None:
    assert _is_problem(_post(relay, raw), 400, "malformed_request")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"[]", ""),
        (b'"x"', ""),
        (b'{"from":"a","to":"a","body":"\\u0000"}', "body"),
        (b'{"from":"a","to":"a","body":"\\ud800"}', "body"),
        (b'{"from":"a","to":"a","body":"x","payload":{"\\udfff":1}}', "payload"),
        (b'{"from":"a","to":"a","body":"x","payload":{"n":1e999}}', "payload"),
        (b'{"from":"a","to":"a","body":"x","replyTo":99999999999999999999}', "replyTo"),
        (b'{"from":"a","to":"a","body":"x","replyTo":true}', "replyTo"),
        (b'{"from":"a","to":"a","body":""}', "body"),
        (b'{"from":"a","to":"a","body":null}', "body"),
    ],
)
def test_values_that_cannot_be_are_422_and_name_the_field(
    relay: RunningRelay, raw: bytes, field: str
) -> None:
    answer = _post(relay, raw)

    assert _is_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == field


def test_every_wrong_field_is_named_at_once(relay: RunningRelay) -> None:
    answer = relay.client.post("/api/agents", json={"id": "", "tags": "x", "nope": 1, "pid": "7"})

    assert {e["field"] for e in answer.json()["errors"]} == {"id", "tags", "nope", "pid"}


def test_a_surrogate_pair_is_a_character_like_any_other(relay: RunningRelay) -> None:
    answer = _post(relay, b'{"from":"a","to":"a","body":"\\ud83d\\ude00"}')

    assert (answer.status_code, answer.json()["body"]) == (201, "\U0001f600")


def test_a_name_given_twice_is_malformed(relay: RunningRelay) -> None:
    assert _post(relay, b'{"from":"a","from":"a","to":"a","body":"x"}').status_code == 400


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_415(relay: RunningRelay, content_type: str) -> None:
    assert _is_problem(_post(relay, b"{}", content_type), 415, "unsupported_media_type")


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 9 * 1024 * 1024])
def test_requests_beyond_a_mebibyte_are_413(relay: RunningRelay, size: int) -> None:
    raw = b'{"body":"' + b"x" * size + b'"}'

    assert _is_problem(_post(relay, raw), 413, "payload_too_large")


def test_what_is_not_http_is_answered_with_a_problem(relay: RunningRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.server.port)) as connection:
        connection.sendall(b"GET /\x00 nonsense\r\nbad header\r\n\r\n")
        answer = connection.makefile("rb").read()

    assert b" 400 " in answer.splitlines()[0]
    assert json.loads(answer.split(b"\r\n\r\n")[1])["code"] == "malformed_request"


def test_every_answer_carries_its_id_and_the_version_but_no_server_name(
    relay: RunningRelay,
) -> None:
    answers = [relay.client.get(path) for path in ("/healthz", "/api/agents", "/api/nope", "/nope")]

    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 4
    assert {answer.headers["X-Agent-Relay-Version"] for answer in answers} == {__version__}
    assert not any("Server" in answer.headers for answer in answers)


def test_health_and_stats(relay: RunningRelay) -> None:
    relay.send("operator", "a", claimable=True)
    relay.client.patch("/api/agents/a/status", json={"status": "busy"})

    stats = relay.client.get("/api/stats").json()

    assert relay.client.get("/healthz").json() == {"status": "ok", "version": __version__}
    assert stats["agents"] == {"total": 1, "online": 1, "busy": 1, "idle": 0, "offline": 0}
    assert stats["messages"] == {"total": 1, "last24h": 1, "unclaimed": 1}
    assert stats["database"]["engine"] == "sqlite"
    assert {"version", "startedAt", "uptimeSeconds", "tasks", "approvals", "machines"} <= set(stats)


def test_the_size_of_the_database_counts_what_is_not_folded_into_the_file_yet(
    relay: RunningRelay,
) -> None:
    before = relay.client.get("/api/stats").json()["database"]["bytes"]

    for _ in range(5):
        relay.send("operator", "operator", "x" * 60_000)

    assert relay.client.get("/api/stats").json()["database"]["bytes"] >= before + 300_000


# -- Host and Origin


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:4850", "[::1]:1", "LOCALHOST", "ok.test"])
def test_allowed_hosts(start_relay: StartRelay, host: str) -> None:
    relay = start_relay(AGENT_RELAY_ALLOWED_HOSTS="ok.test, other.test")

    assert relay.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["ok.test", "ok.test:4850", "[fd00::1]:4850"])
def test_a_port_or_brackets_in_the_allowed_hosts_do_no_harm(
    start_relay: StartRelay, host: str
) -> None:
    relay = start_relay(AGENT_RELAY_ALLOWED_HOSTS="ok.test:4850,[fd00::1]:4850")

    assert relay.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "10.0.0.1", "", "ok.test"])
def test_other_hosts_are_421(relay: RunningRelay, host: str) -> None:
    answer = relay.client.get("/api/agents", headers={"Host": host})

    assert _is_problem(answer, 421, "misdirected_request")


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://localhost:1", ""])
def test_pages_of_other_origins_change_nothing(relay: RunningRelay, origin: str) -> None:
    answer = relay.client.post("/api/agents", json={"id": "x"}, headers={"Origin": origin})

    assert _is_problem(answer, 403, "forbidden")
    assert relay.client.get("/api/agents", headers={"Origin": origin}).status_code == 200


def test_the_servers_own_pages_change_things(relay: RunningRelay) -> None:
    answer = relay.client.post("/api/agents", json={"id": "x"}, headers={"Origin": relay.url})

    assert answer.status_code == 201


# -- tokens


@pytest.fixture
def guarded(start_relay: StartRelay) -> RunningRelay:
    """A relay with a token."""
    return start_relay(AGENT_RELAY_TOKEN="s3cret")


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer s3cret"}, {"X-Agent-Relay-Token": "s3cret"}],
)
def test_a_token_opens_the_api(guarded: RunningRelay, headers: dict[str, str]) -> None:
    assert guarded.client.get("/api/agents", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic s3cret"},
        {"X-Agent-Relay-Token": ""},
        {"Cookie": "agent_relay_session=s3cret"},
    ],
)
def test_without_the_token_the_api_is_closed(
    guarded: RunningRelay, headers: dict[str, str]
) -> None:
    for path in ("/api/agents", "/api/events", "/api/nope", "/metrics"):
        answer = guarded.client.get(path, headers=headers)
        assert _is_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_health_and_the_dashboards_files_need_no_token(guarded: RunningRelay) -> None:
    assert guarded.client.get("/healthz").status_code == 200
    assert guarded.client.get("/").status_code == 200


def test_a_browser_logs_in_for_its_event_stream_and_out_again(guarded: RunningRelay) -> None:
    wrong = guarded.client.post("/api/login", json={"token": "wrong"})
    right = guarded.client.post("/api/login", json={"token": "s3cret"})
    inside = guarded.client.get("/api/agents")
    out = guarded.client.post("/api/logout")
    outside = guarded.client.get("/api/agents")

    assert _is_problem(wrong, 401, "unauthorized")
    assert "HttpOnly" in right.headers["Set-Cookie"]
    assert "SameSite=Strict" in right.headers["Set-Cookie"]
    assert "s3cret" not in right.headers["Set-Cookie"]
    assert (right.status_code, inside.status_code) == (204, 200)
    assert (out.status_code, outside.status_code) == (204, 401)


# -- the dashboard


def test_the_dashboard_is_served_under_a_strict_policy(relay: RunningRelay) -> None:
    page = relay.client.get("/")
    script = relay.client.get("/app/main.js")

    assert page.headers["Content-Type"].startswith("text/html")
    assert "javascript" in script.headers["Content-Type"]
    for answer in (page, script):
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# -- the connection


def test_head_and_body_leave_in_one_piece(relay: RunningRelay) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", relay.server.port)) as connection:
        for _ in range(20):
            connection.sendall(request)
            piece = connection.recv(65536)
            assert piece.startswith(b"HTTP/1.1 200 OK")
            assert piece.endswith(b'"}')


def test_bound_to_every_address_each_of_the_machines_own_is_an_allowed_host(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(HOST="0.0.0.0", AGENT_RELAY_TOKEN="t")
    own = socket.gethostname()

    allowed = relay.client.get("/healthz", headers={"Host": own})
    refused = relay.client.get("/healthz", headers={"Host": "evil.test"})

    assert (allowed.status_code, refused.status_code) == (200, 421)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/app/main.js", 405),
        ("OPTIONS", "/app/main.js", 405),
        ("HEAD", "/app/main.js", 200),
        ("POST", "/nope", 404),
        ("OPTIONS", "/nope", 404),
        ("OPTIONS", "/api/nope", 404),
        ("PUT", "/", 405),
        ("POST", "/%00", 404),
        ("GET", "/%00", 404),
        ("POST", "/" + "x" * 5000, 404),
        ("POST", "/../relay_server/cli.py", 404),
    ],
)
def test_files_are_only_read(relay: RunningRelay, method: str, path: str, status: int) -> None:
    answer = relay.client.request(method, path)

    assert answer.status_code == status
    assert "OPTIONS" not in answer.headers.get("Allow", "")
