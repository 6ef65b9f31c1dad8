"""Who may call what: one table over every operation, written by hand from the contract's page.

Not derived from the declarations: it is what they are judged by.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay

OWN = "the-servers-own-token"
SCOPES = ("create", "read", "update")
INTEGRATIONS = [
    *(
        {"name": f"ci-{word}", "token": f"ci-{word}-secret", "scopes": [f"tasks:{word}"]}
        for word in SCOPES
    ),
    {"name": "hooks", "token": "hooks-secret", "scopes": [], "webhookSecret": "signs"},
]
# Who may, beside the owner: by the server's token, by an admin token, by the cookie for it.
LOOKS = "read agent elsewhere"
WORKS = "agent elsewhere"
# For an agent of another machine, which a bound token may not speak for.
SPEAKS = "agent"
NOBODY_ELSE = ""
CALLERS = (
    *("none", "wrong", "admin", "cookie", "read", "agent", "elsewhere"),
    *(f"ci-{word}" for word in SCOPES),
)


@dataclass(frozen=True)
class Row:
    """`who`: for whom it is neither 401 nor 403. `is_public`: for everyone."""

    method: str
    path: str
    who: str = NOBODY_ELSE
    body: Any = None
    is_public: bool = False


ACK = {"receipts": [{"messageId": 1, "state": "routed"}]}
ASKED = {"agentId": "a", "tool": "Bash", "summary": "ls"}
EVENT = {"title": "t", "target": "operator"}
ALERTS = {"version": "4", "alerts": []}
MESSAGE = {"from": "a", "to": "operator", "body": "x"}
SESSION = {"provider": "codex", "cwd": "/srv/x"}
BY_A = {"agentId": "a"}
DONE = {"agentId": "a", "status": "done"}

TABLE = {
    # -- the service
    "health": Row("GET", "/healthz", is_public=True),
    "stats": Row("GET", "/api/stats", LOOKS),
    "metrics": Row("GET", "/metrics", LOOKS),
    "openapi": Row("GET", "/api/openapi.json", LOOKS),
    "login": Row("POST", "/api/login", body={"token": OWN}, is_public=True),
    "logout": Row("POST", "/api/logout", is_public=True),
    # -- agents
    "registerAgent": Row("POST", "/api/agents", SPEAKS, {"id": "a", "machine": "m1"}),
    "listAgents": Row("GET", "/api/agents", LOOKS),
    "getAgent": Row("GET", "/api/agents/a", LOOKS),
    "changeAgent": Row("PATCH", "/api/agents/a", SPEAKS, {"tags": ["t"]}),
    "setAgentStatus": Row("PATCH", "/api/agents/a/status", SPEAKS, {"status": "busy"}),
    "beat": Row("POST", "/api/agents/a/heartbeat", SPEAKS, {}),
    "beatForAll": Row("POST", "/api/heartbeats", SPEAKS, {"agents": [{"id": "a"}]}),
    "acknowledge": Row("POST", "/api/agents/a/ack", SPEAKS, ACK),
    "removeAgent": Row("DELETE", "/api/agents/a", SPEAKS),
    # -- messages
    "sendMessage": Row("POST", "/api/messages", SPEAKS, MESSAGE),
    "listMessages": Row("GET", "/api/messages", LOOKS),
    "getMessage": Row("GET", "/api/messages/1", LOOKS),
    "explainMessage": Row("GET", "/api/messages/1/explain", LOOKS),
    "previewRoute": Row("GET", "/api/route?to=a", LOOKS),
    "getThread": Row("GET", "/api/messages/1/thread", LOOKS),
    "claimMessage": Row("POST", "/api/messages/1/claim", SPEAKS, BY_A),
    "releaseMessage": Row("POST", "/api/messages/1/release", SPEAKS, BY_A),
    "completeMessage": Row("POST", "/api/messages/1/complete", SPEAKS, BY_A),
    "readMessage": Row("POST", "/api/messages/1/read", SPEAKS, BY_A),
    "deliverMessage": Row("POST", "/api/messages/1/deliver"),
    "removeMessage": Row("DELETE", "/api/messages/999"),
    # -- streams
    "openStream": Row("GET", "/api/stream?agent=a", "agent read"),
    "changeStream": Row("PUT", "/api/stream/none", SPEAKS, {"agents": ["a"]}),
    "openEvents": Row("GET", "/api/events", LOOKS),
    # -- tasks and integrations
    "reportEvent": Row("POST", "/api/integrations/events", f"{WORKS} ci-create", EVENT),
    "receiveAlertmanager": Row(
        "POST", "/api/integrations/alertmanager?target=operator", "ci-create", ALERTS
    ),
    "createTask": Row("POST", "/api/tasks", f"{WORKS} ci-create", EVENT),
    "listTasks": Row("GET", "/api/tasks", f"{LOOKS} ci-read"),
    "getTask": Row("GET", "/api/tasks/1", f"{LOOKS} ci-read"),
    "getTaskEvents": Row("GET", "/api/tasks/1/events", f"{LOOKS} ci-read"),
    "getTaskCallbacks": Row("GET", "/api/tasks/1/callbacks", f"{LOOKS} ci-read"),
    "claimTask": Row("POST", "/api/tasks/1/claim", SPEAKS, BY_A),
    "releaseTask": Row("POST", "/api/tasks/1/release", SPEAKS, BY_A),
    "updateTask": Row("PATCH", "/api/tasks/1/status", f"{SPEAKS} ci-update", DONE),
    # -- approvals
    "askForApproval": Row("POST", "/api/approvals", SPEAKS, ASKED),
    "listApprovals": Row("GET", "/api/approvals", LOOKS),
    "getApproval": Row("GET", "/api/approvals/1", LOOKS),
    "decideApproval": Row("POST", "/api/approvals/1/decision", body={"decision": "deny"}),
    "cancelApproval": Row("POST", "/api/approvals/1/cancel", SPEAKS, {}),
    # -- machines and sessions
    "reportMachine": Row("PUT", "/api/machines/m1", SPEAKS, {"launchRoots": ["/srv"]}),
    "listMachines": Row("GET", "/api/machines", LOOKS),
    "getMachine": Row("GET", "/api/machines/m1", LOOKS),
    "launchSession": Row("POST", "/api/machines/m1/sessions", body=SESSION),
    "stopSession": Row("POST", "/api/agents/a/stop", body={}),
    "readOutput": Row("GET", "/api/agents/adrift/logs", LOOKS),
    # They hold folders and prompts of their machine.
    "listCommands": Row("GET", "/api/machines/m1/commands", "read agent"),
    "getCommand": Row("GET", "/api/commands/1", "read agent"),
    "reportCommand": Row("PATCH", "/api/commands/1", SPEAKS, {"status": "accepted"}),
    # -- tokens and integrations
    "createToken": Row("POST", "/api/tokens", body={"name": "t", "scope": "read"}),
    "listTokens": Row("GET", "/api/tokens"),
    "deleteToken": Row("DELETE", "/api/tokens/999"),
    "addIntegration": Row("POST", "/api/integrations", body={"name": "x", "scopes": []}),
    "listIntegrations": Row("GET", "/api/integrations"),
    "removeIntegration": Row("DELETE", "/api/integrations/none"),
}
# Its signature says who calls, whatever token there is: see tests/server/test_webhooks.py.
SIGNED = {"receiveGithub": Row("POST", "/api/integrations/hooks/github", body={})}


class Place:
    """A relay with every kind of caller."""

    def __init__(self, folder: Path, *, is_closed: bool) -> None:
        environment = {"AGENT_RELAY_INTEGRATIONS": json.dumps(INTEGRATIONS)}
        if is_closed:
            environment["AGENT_RELAY_TOKEN"] = OWN
        self.relay = RunningRelay(folder, None, None, **environment)
        self.is_closed = is_closed
        self.owner = self.client(**({"X-Agent-Relay-Token": OWN} if is_closed else {}))
        self.callers: dict[str, dict[str, str]] = {
            "none": {},
            "wrong": {"X-Agent-Relay-Token": "wrong"},
            "admin": self.made("admin"),
            "read": self.made("read"),
            "agent": self.made("agent"),
            "elsewhere": self.made("agent", machine="m2"),
            "cookie": self.cookie(),
        }
        for word in SCOPES:
            self.callers[f"ci-{word}"] = {"Authorization": f"Bearer ci-{word}-secret"}
        self._clients = {name: self.client(**headers) for name, headers in self.callers.items()}
        self.fill()

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.relay.url, trust_env=False, timeout=20, headers=headers)

    def made(self, scope: str, **more: str) -> dict[str, str]:
        answer = self.owner.post("/api/tokens", json={"name": scope, "scope": scope, **more})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def cookie(self) -> dict[str, str]:
        """Where the server has no token there is nothing to log in with: the cookie is empty."""
        answer = self.owner.post("/api/login", json={"token": OWN})
        cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        return {"Cookie": cookie} if cookie else {}

    def fill(self) -> None:
        """What the rows name is there: number 1 of each."""
        self.present()
        given = {"from": "operator", "to": "a", "body": "x", "claimable": True}
        for path, body in (
            ("/api/messages", given),
            ("/api/tasks", EVENT),
            ("/api/approvals", ASKED),
            ("/api/machines/m1/sessions", SESSION),
        ):
            answer = self.owner.post(path, json=body)
            assert answer.status_code in (201, 202), answer.text

    def present(self) -> None:
        """A caller may have removed the agent."""
        self.owner.put("/api/machines/m1", json={"launchRoots": ["/srv"], "providers": ["codex"]})
        self.owner.post("/api/agents", json={"id": "a", "machine": "m1"})
        self.owner.post("/api/agents", json={"id": "adrift"})

    def call(self, row: Row, caller: str) -> tuple[int, str | None]:
        """Status and code; of a stream no more than its head is read."""
        client = self._clients[caller]
        with client.stream(row.method, row.path, json=row.body) as answer:
            client.cookies.clear()
            if answer.is_success:
                return answer.status_code, None
            return answer.status_code, json.loads(answer.read())["code"]

    def stop(self) -> None:
        for client in (self.owner, *self._clients.values()):
            client.close()
        self.relay.stop()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With a token."""
    place = Place(tmp_path_factory.mktemp("closed"), is_closed=True)
    yield place
    place.stop()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Loopback, without one."""
    place = Place(tmp_path_factory.mktemp("opened"), is_closed=False)
    yield place
    place.stop()


def expected(row: Row, caller: str, *, is_closed: bool) -> str:
    """allowed, 401 or 403."""
    if row.is_public or caller in ("admin", *row.who.split()):
        return "allowed"
    if caller in ("none", "wrong", "cookie"):
        # The cookie is the owner's; without a token of its own a server trusts whoever reaches it.
        return "allowed" if caller == "cookie" or not is_closed else "401"
    return "403"


def outcome(status: int) -> str:
    return str(status) if status in (401, 403) else "allowed"


def test_every_operation_has_a_row(closed: Place) -> None:
    page = closed.owner.get("/api/openapi.json").json()

    published = {
        (operation["operationId"], method.upper(), path)
        for path, methods in page["paths"].items()
        for method, operation in methods.items()
    }
    rows = TABLE | SIGNED

    assert {name for name, _, _ in published} == set(rows)
    for name, method, path in published:
        row = rows[name]
        parts = zip(path.split("/"), row.path.partition("?")[0].split("/"), strict=True)
        assert method == row.method
        assert all(there == here or there.startswith("{") for there, here in parts), name


@pytest.mark.parametrize("server", ["opened", "closed"])
@pytest.mark.parametrize("name", TABLE)
def test_who_may(request: pytest.FixtureRequest, server: str, name: str) -> None:
    place: Place = request.getfixturevalue(server)
    row, found, wanted = TABLE[name], {}, {}

    for caller in CALLERS:
        place.present()
        found[caller] = outcome(place.call(row, caller)[0])
        wanted[caller] = expected(row, caller, is_closed=place.is_closed)

    assert found == wanted


@pytest.mark.parametrize("server", ["opened", "closed"])
@pytest.mark.parametrize("name", SIGNED)
def test_no_token_replaces_a_signature(
    request: pytest.FixtureRequest, server: str, name: str
) -> None:
    place: Place = request.getfixturevalue(server)

    assert {place.call(SIGNED[name], caller) for caller in CALLERS} == {(401, "unauthorized")}


# -- the finer rules


def _as(place: Place, caller: str) -> httpx.Client:
    place.present()
    return place.client(**place.callers[caller])


def _refused(answer: httpx.Response, code: str) -> bool:
    return (answer.status_code, answer.json()["code"]) == (403, code)


@pytest.mark.parametrize("caller", ["agent", "elsewhere"])
@pytest.mark.parametrize("voice", ["operator", "system"])
def test_an_agents_token_never_has_the_peoples_voice(
    closed: Place, caller: str, voice: str
) -> None:
    by = {"agentId": voice}
    with _as(closed, caller) as client:
        for method, path, body in (
            ("POST", "/api/messages", {"from": voice, "to": "a", "body": "x"}),
            ("POST", "/api/tasks", {**EVENT, "from": voice}),
            ("POST", "/api/messages/1/claim", by),
            ("POST", "/api/messages/1/release", by),
            ("POST", "/api/messages/1/complete", by),
            ("POST", "/api/messages/1/read", by),
            ("POST", "/api/tasks/1/claim", by),
            ("POST", "/api/tasks/1/release", by),
            ("PATCH", "/api/tasks/1/status", {**DONE, **by}),
            ("POST", "/api/approvals", {**ASKED, **by}),
            ("POST", "/api/agents", {"id": voice}),
            ("PATCH", f"/api/agents/{voice}", {"label": "x"}),
            ("PATCH", f"/api/agents/{voice}/status", {"status": "busy"}),
            ("POST", f"/api/agents/{voice}/heartbeat", {}),
            ("POST", "/api/heartbeats", {"agents": [{"id": voice}]}),
            ("POST", f"/api/agents/{voice}/ack", ACK),
            ("PUT", "/api/stream/none", {"agents": [voice]}),
            ("GET", f"/api/messages?for={voice}", None),
            ("GET", f"/api/stream?agent={voice}", None),
        ):
            answer = client.request(method, path, json=body)
            assert _refused(answer, "sender_forbidden"), (method, path)


def test_a_bound_token_speaks_only_for_its_own_machine(closed: Place) -> None:
    with _as(closed, "elsewhere") as client:
        for method, path, body in (
            ("POST", "/api/agents", {"id": "new", "machine": "m1"}),
            ("POST", "/api/agents", {"id": "a"}),
            ("POST", "/api/agents", {"id": "adrift"}),
            ("POST", "/api/agents/a/heartbeat", {}),
            ("POST", "/api/heartbeats", {"agents": [], "machine": "m1"}),
            ("GET", "/api/messages?for=a", None),
            ("GET", "/api/messages?for=adrift&since=0", None),
            ("GET", "/api/stream?agent=a", None),
            ("GET", "/api/stream?machine=m1", None),
            ("PUT", "/api/machines/m1", {}),
            ("POST", "/api/tasks", {**EVENT, "from": "a"}),
            ("PATCH", "/api/commands/1", {"status": "accepted"}),
        ):
            answer = client.request(method, path, json=body)
            assert _refused(answer, "sender_forbidden"), (method, path, answer.text)
        mine = client.post("/api/agents", json={"id": "mine"})
        assert (mine.status_code, mine.json()["machine"]) == (201, "m2")
        assert client.post("/api/agents/mine/heartbeat", json={}).status_code == 200
        assert client.put("/api/machines/m2", json={}).status_code == 200


@pytest.mark.parametrize("machine", [{}, {"machine": "m2"}])
def test_reading_is_no_speaking(closed: Place, machine: dict[str, str]) -> None:
    closed.present()
    with closed.client(**closed.made("read", **machine)) as client:
        for path in ("/api/messages?for=a", "/api/messages?for=operator"):
            assert client.get(path).status_code == 200
        for path in ("/api/stream?agent=a", "/api/stream?agent=operator&machine=m1"):
            with client.stream("GET", path) as answer:
                assert answer.status_code == 200


def test_a_token_of_a_session_tightens_an_approval_mode_and_never_loosens_it(
    closed: Place,
) -> None:
    closed.owner.post("/api/agents", json={"id": "g", "approvalMode": "guarded"})
    with _as(closed, "agent") as client:
        looser = client.patch("/api/agents/g", json={"approvalMode": "open"})
        again = client.post("/api/agents", json={"id": "g", "approvalMode": "open"}).json()
        tighter = client.patch("/api/agents/g", json={"approvalMode": "read-only"})
        back = client.patch("/api/agents/g", json={"approvalMode": "guarded"})
    freed = closed.owner.patch("/api/agents/g", json={"approvalMode": "open"})

    assert _refused(looser, "loosening_forbidden")
    assert again["approvalMode"] == "guarded"
    assert tighter.json()["approvalMode"] == "read-only"
    assert _refused(back, "loosening_forbidden")
    assert freed.json()["approvalMode"] == "open"


# -- integrations


@pytest.fixture
def limited(closed: Place) -> Iterator[httpx.Client]:
    """An integration with targets and channels."""
    given = {
        "name": "limited",
        "scopes": ["tasks:create", "tasks:read", "tasks:update"],
        "targets": ["tag:ops", "label:Lead"],
        "channels": ["alerts"],
    }
    token = closed.owner.post("/api/integrations", json=given).json()["token"]
    with closed.client(Authorization=f"Bearer {token}") as client:
        yield client
    assert closed.owner.delete("/api/integrations/limited").status_code == 204


def test_an_integration_reaches_only_its_targets_and_channels(limited: httpx.Client) -> None:
    def post(target: str, channel: str | None) -> httpx.Response:
        body = {"title": "t", "target": target, "channel": channel}
        return limited.post("/api/integrations/events", json=body)

    assert post("tag:ops", "alerts").status_code == 201
    assert post("label:LEAD", "alerts").status_code == 201
    assert _refused(post("tag:dev", "alerts"), "target_forbidden")
    assert _refused(post("broadcast", "alerts"), "target_forbidden")
    assert _refused(post("tag:ops", "other"), "channel_forbidden")
    # What has no channel reaches the hearers of all channels.
    assert _refused(post("tag:ops", None), "channel_forbidden")


def test_an_integration_sees_only_what_is_within_its_reach(
    closed: Place, limited: httpx.Client
) -> None:
    hidden = closed.owner.post("/api/tasks", json=EVENT).json()["id"]
    body = {"title": "t", "target": "tag:ops", "channel": "alerts"}
    own = limited.post("/api/integrations/events", json=body).json()["task"]["id"]

    listed = {task["target"] for task in limited.get("/api/tasks?limit=500").json()["tasks"]}

    assert listed <= {"tag:ops", "label:LEAD"}
    assert limited.get(f"/api/tasks/{own}").status_code == 200
    for verb in ("", "/events", "/callbacks"):
        assert _refused(limited.get(f"/api/tasks/{hidden}{verb}"), "target_forbidden")


def test_an_empty_list_of_targets_allows_none(closed: Place) -> None:
    given = {"name": "mute", "scopes": ["tasks:create", "tasks:read"], "targets": []}
    token = closed.owner.post("/api/integrations", json=given).json()["token"]
    with closed.client(Authorization=f"Bearer {token}") as client:
        refused = client.post("/api/integrations/events", json=EVENT)
        assert _refused(refused, "target_forbidden")
        assert client.get("/api/tasks").json()["tasks"] == []
    closed.owner.delete("/api/integrations/mute")


def test_an_integration_updates_its_own_tasks_and_speaks_for_nobody_else(
    closed: Place, limited: httpx.Client
) -> None:
    closed.present()
    foreign = closed.owner.post("/api/tasks", json=EVENT).json()["id"]
    body = {"title": "t", "target": "tag:ops", "channel": "alerts"}
    own = limited.post("/api/integrations/events", json=body).json()["task"]["id"]
    closed.owner.post(f"/api/tasks/{foreign}/claim", json=BY_A)

    as_owner = limited.patch(f"/api/tasks/{foreign}/status", json=DONE)
    as_operator = limited.patch(f"/api/tasks/{own}/status", json={**DONE, "agentId": "operator"})
    ended = limited.patch(f"/api/tasks/{own}/status", json=DONE)
    events = closed.owner.get(f"/api/tasks/{own}/events").json()["events"]

    assert as_owner.json()["code"] == "not_owner"
    assert _refused(as_operator, "sender_forbidden")
    assert (ended.json()["status"], events[-1]["actor"]) == ("done", "limited")


def test_an_agent_that_is_called_like_an_integration_is_somebody_else(
    closed: Place, limited: httpx.Client
) -> None:
    body = {"title": "t", "target": "tag:ops", "channel": "alerts", "dedupeKey": "disk"}
    task = limited.post("/api/integrations/events", json=body).json()["task"]
    with _as(closed, "agent") as client:
        client.post("/api/agents", json={"id": "limited"})
        resolved = client.post(
            "/api/tasks", json={"from": "limited", "dedupeKey": "disk", "status": "resolved"}
        )
        reported = client.post("/api/tasks", json={**body, "from": "limited"})
        closing = client.patch(
            f"/api/tasks/{task['id']}/status", json={"agentId": "limited", "status": "done"}
        )

    assert resolved.status_code == 404
    assert (reported.status_code, reported.json()["id"]) == (201, task["id"] + 1)
    assert closing.json()["code"] == "not_owner"
    assert closed.owner.get(f"/api/tasks/{task['id']}").json()["status"] == "open"


def test_too_many_events_of_an_integration_are_429(tmp_path: Path) -> None:
    relay = RunningRelay(
        tmp_path,
        AGENT_RELAY_INTEGRATIONS=json.dumps(INTEGRATIONS),
        AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="3",
    )
    headers = {"Authorization": "Bearer ci-create-secret"}
    answers = [
        relay.client.post("/api/integrations/events", json=EVENT, headers=headers) for _ in range(4)
    ]
    unlimited = relay.client.post("/api/tasks", json=EVENT)
    relay.stop()

    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
    assert unlimited.status_code == 201


# -- tokens that are no longer good, and cookies


def test_a_revoked_token_and_its_cookie_are_worth_nothing_at_once(closed: Place) -> None:
    made = closed.owner.post("/api/tokens", json={"name": "gone", "scope": "read"}).json()
    with closed.client(Authorization=f"Bearer {made['token']}") as client:
        assert client.get("/api/agents").status_code == 200
        logged_in = client.post("/api/login", json={"token": made["token"]})
        cookie = logged_in.headers["Set-Cookie"].partition(";")[0]
        with closed.client(Cookie=cookie) as browser:
            assert browser.get("/api/agents").status_code == 200
            assert closed.owner.delete(f"/api/tokens/{made['id']}").status_code == 204

            assert client.get("/api/agents").status_code == 401
            assert browser.get("/api/agents").status_code == 401


def test_a_lost_token_of_ours_opens_no_server_not_even_one_without_a_token(
    opened: Place,
) -> None:
    made = opened.owner.post("/api/tokens", json={"name": "gone", "scope": "read"}).json()
    opened.owner.delete(f"/api/tokens/{made['id']}")
    with opened.client(Authorization=f"Bearer {made['token']}") as client:
        assert client.get("/api/agents").status_code == 401
        assert client.post("/api/agents", json={"id": "x"}).status_code == 401


def test_a_browser_that_logged_out_is_outside(closed: Place) -> None:
    with closed.client() as browser:
        browser.post("/api/login", json={"token": OWN})
        inside = browser.post("/api/agents", json={"id": "b"})
        browser.post("/api/logout")
        outside = browser.post("/api/agents", json={"id": "b"})

    assert (inside.status_code, outside.status_code) == (201, 401)


def test_a_cookie_of_a_read_token_only_reads(closed: Place) -> None:
    token = closed.owner.post("/api/tokens", json={"name": "phone", "scope": "read"}).json()
    with closed.client() as browser:
        browser.post("/api/login", json={"token": token["token"]})

        assert browser.get("/api/agents").status_code == 200
        assert _refused(browser.post("/api/agents", json={"id": "b"}), "forbidden")
        assert _refused(browser.get("/api/tokens"), "forbidden")


def test_a_wrong_token_is_refused_beside_a_good_cookie(closed: Place) -> None:
    headers = {**closed.callers["cookie"], "Authorization": "Bearer wrong"}
    with closed.client(**headers) as client:
        assert client.get("/api/agents").status_code == 401


@pytest.mark.parametrize(
    "path",
    ["//api/agents", "/%61pi/agents", "/api/%61gents", "///api/agents", "/api/agents?x=/healthz"],
)
def test_no_spelling_of_a_path_goes_round_the_token(closed: Place, path: str) -> None:
    with closed.client() as client:
        assert client.get(f"{closed.relay.url}{path}").status_code == 401


@pytest.mark.parametrize("path", ["//api/stats", "///api/agents", "//metrics"])
def test_a_path_that_the_gate_does_not_know_opens_nothing(
    start_relay: StartRelay, path: str
) -> None:
    """The router folds slashes. So does waitress before it, but nothing may rest on that."""
    relay = start_relay(AGENT_RELAY_TOKEN="main")
    transport = httpx.WSGITransport(relay.relay.app)

    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        answer = client.send(httpx.Request("GET", f"http://localhost{path}"))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
