"""What the fuzzer needs to get deep: things that exist, and calls of them that must succeed."""

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from tests.server.running import RunningRelay

Json = dict[str, Any]
TOKEN: Final = "fuzz-token"
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}
_SECRET: Final = "fuzz-secret"


@dataclass(slots=True)
class Known:
    """What a generated call is to have instead: a field set to None is left out."""

    path: Json = field(default_factory=dict)
    query: Json = field(default_factory=dict)
    body: Json | None = None
    fields: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class World:
    """Makes things on a relay; each call gives a fresh one."""

    def __init__(self, relay: RunningRelay) -> None:
        self.relay = relay
        self._client = relay.new_client(headers=BEARER)
        self.session = requests.Session()
        self.session.trust_env = False
        self._numbers = itertools.count()
        self._open = ExitStack()

    @classmethod
    def started(cls, folder: Path) -> "World":
        """On a relay of its own with a token, where every reply of an agent is held."""
        given = {"AGENT_RELAY_SENDER_LIMIT": "0", "AGENT_RELAY_LOOP_LIMIT": "1"}
        return cls(RunningRelay(folder, None, AGENT_RELAY_TOKEN=TOKEN, **given))

    def close(self) -> None:
        self._open.close()
        self._client.close()
        self.session.close()
        self.relay.stop()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body)
        assert answer.status_code < 300, (method, path, body, answer.text)
        return answer.json() if answer.content else None

    def agent(self, agent_id: str = "a") -> str:
        given = {"id": agent_id, "tags": ["t"], "machine": "m", "channels": []}
        self.ask("POST", "/api/agents", {**given, "status": "idle"})
        return agent_id

    def machine(self) -> str:
        given = {"launchRoots": ["/w"], "providers": ["claude"]}
        self.ask("PUT", "/api/machines/m", given)
        return "m"

    def message(self, *, is_claimed: bool = False) -> int:
        given = {"from": "operator", "to": self.agent(), "body": "x", "claimable": True}
        made = int(self.ask("POST", "/api/messages", given)["id"])
        if is_claimed:
            self.ask("POST", f"/api/messages/{made}/claim", {"agentId": "a"})
        return made

    def held_message(self) -> int:
        given = {"from": self.agent("a"), "to": self.agent("b"), "body": "x"}
        first = self.ask("POST", "/api/messages", given)["id"]
        reply = {"from": "b", "to": "a", "body": "x", "replyTo": first}
        made = self.ask("POST", "/api/messages", reply)
        assert made["held"]
        return int(made["id"])

    def task(self, *, is_claimed: bool = False) -> int:
        self.agent()
        made = int(self.ask("POST", "/api/tasks", {"title": "x", "target": "tag:t"})["id"])
        if is_claimed:
            self.ask("POST", f"/api/tasks/{made}/claim", {"agentId": "a"})
        return made

    def approval(self) -> int:
        given = {"agentId": self.agent(), "tool": "t", "summary": "s"}
        return int(self.ask("POST", "/api/approvals", given)["id"])

    def command(self) -> int:
        given = {"provider": "claude", "cwd": "/w/x"}
        path = f"/api/machines/{self.machine()}/sessions"
        return int(self.ask("POST", path, given)["id"])

    def token(self) -> int:
        return int(self.ask("POST", "/api/tokens", {"name": "n", "scope": "read"})["id"])

    def name(self) -> str:
        return f"made-{next(self._numbers)}"

    def integration(self) -> str:
        made = self.name()
        given = {"name": made, "scopes": ["tasks:create"], "webhookSecret": _SECRET}
        self.ask("POST", "/api/integrations", {**given, "targets": ["tag:t"]})
        return made

    def stream(self) -> str:
        followed = self._open.enter_context(self.relay.stream("/api/stream?agent=a", BEARER))
        return str(followed.wait_for("hello")[0].data["streamId"])


def _path(name: str, make: str, **options: Any) -> Callable[[World], Known]:
    return lambda world: Known(path={name: getattr(world, make)(**options)})


def _by(known: Callable[[World], Known], **fields: Any) -> Callable[[World], Known]:
    def make(world: World) -> Known:
        world.agent()
        made = known(world)
        made.fields |= fields
        return made

    return make


def _nothing(world: World) -> Known:
    del world
    return Known()


def _github(world: World) -> Known:
    body = {"zen": "Keep it logically awesome.", "hook_id": 1}
    raw = json.dumps(body).encode()
    signature = hmac.new(_SECRET.encode(), raw, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "ping", "X-Hub-Signature-256": f"sha256={signature}"}
    return Known({"integration": world.integration()}, body=body, headers=headers)


_AGENT = _path("agentId", "agent")
_MESSAGE = _path("messageId", "message")
_OWN_MESSAGE = _by(_path("messageId", "message", is_claimed=True), agentId="a")
_TASK = _path("taskId", "task")
_APPROVAL = _path("approvalId", "approval")
_COMMAND = _path("commandId", "command")
_MACHINE = _path("machineId", "machine")
_ALERT: Final = {
    "status": "firing",
    "labels": {"alertname": "Disk"},
    "annotations": {},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "abc",
}

# For each operation a call that must succeed, whatever the rest of it is.
KNOWN: Final[dict[str, Callable[[World], Known]]] = {
    "login": _by(_nothing, token=TOKEN),
    "registerAgent": _by(_nothing, id="a", instanceId=None),
    "getAgent": _AGENT,
    "changeAgent": _AGENT,
    "removeAgent": _AGENT,
    "setAgentStatus": _AGENT,
    "beat": _AGENT,
    "beatForAll": _by(_nothing, agents=[{"id": "a", "status": "busy"}]),
    "acknowledge": lambda world: Known(
        {"agentId": world.agent()},
        fields={"receipts": [{"messageId": world.message(), "state": "handed"}]},
    ),
    "sendMessage": _by(
        _nothing, **{"from": "operator", "to": "a", "replyTo": None, "idempotencyKey": None}
    ),
    "listMessages": lambda world: Known(query={"for": world.agent()}),
    "previewRoute": lambda _: Known(query={"to": "tag:t"}),
    "getMessage": lambda world: Known({"messageId": world.message()}, query={"for": "read"}),
    "removeMessage": _MESSAGE,
    "explainMessage": _MESSAGE,
    "getThread": _MESSAGE,
    "readMessage": _by(_MESSAGE, agentId="a"),
    "deliverMessage": _path("messageId", "held_message"),
    "claimMessage": _by(_MESSAGE, agentId="a"),
    "releaseMessage": _OWN_MESSAGE,
    "completeMessage": _OWN_MESSAGE,
    "changeStream": _by(_path("streamId", "stream"), agents=["a"]),
    "openStream": lambda world: Known(query={"agent": world.agent()}),
    "reportEvent": _by(_nothing, title="x", target="tag:t", status=None),
    "createTask": _by(_nothing, title="x", target="tag:t", status=None, **{"from": "operator"}),
    "getTask": _TASK,
    "getTaskEvents": _TASK,
    "getTaskCallbacks": _TASK,
    "claimTask": _by(_TASK, agentId="a"),
    "releaseTask": _by(_path("taskId", "task", is_claimed=True), agentId="a"),
    "updateTask": _by(_TASK, agentId="operator", status="canceled"),
    "receiveAlertmanager": lambda _: Known(
        query={"target": "tag:t"}, body={"version": "4", "status": "firing", "alerts": [_ALERT]}
    ),
    "receiveGithub": _github,
    "getMachine": _MACHINE,
    "reportMachine": _MACHINE,
    "launchSession": _by(_MACHINE, provider="claude", cwd="/w/x"),
    "stopSession": lambda world: Known({"agentId": world.machine() and world.agent()}),
    "listCommands": _MACHINE,
    "getCommand": _COMMAND,
    "reportCommand": _by(_COMMAND, status="accepted", agentId=None, result=None),
    "askForApproval": _by(_nothing, agentId="a"),
    "getApproval": _APPROVAL,
    "decideApproval": _APPROVAL,
    "cancelApproval": _by(_APPROVAL, agentId="a"),
    "createToken": _by(_nothing, name="n", scope="agent", expiresAt=None, machine=None),
    "deleteToken": _path("tokenId", "token"),
    "addIntegration": lambda world: Known(
        fields={"name": world.name(), "callbackUrl": "http://127.0.0.1:9/", "targets": ["tag:t"]}
    ),
    "removeIntegration": _path("integration", "integration"),
}
# Answered by a machine's daemon within five seconds; tests/server/test_commands.py has one.
UNREACHABLE: Final = frozenset({"readOutput"})
