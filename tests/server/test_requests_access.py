"""Who may ask for approval, answer, start and stop sessions, and report for a machine."""

import httpx
import pytest

from relay_server.domain.token import Token, fingerprint
from relay_server.store import tokens
from relay_server.wire import TokenScope
from tests.server.asking import ask, get
from tests.server.commanding import LAUNCH, REPORT, launched
from tests.server.running import Json, RunningRelay

_ASKING = {"tool": "Bash", "summary": "ls"}
_ALLOW = {"decision": "allow"}


@pytest.fixture
def relay(patient_relay: RunningRelay) -> RunningRelay:
    """Two machines with a session each."""
    for machine in ("m", "n"):
        patient_relay.client.put(f"/api/machines/{machine}", json=REPORT)
        patient_relay.agent(f"of-{machine}", machine=machine)
    return patient_relay


def _call(
    relay: RunningRelay,
    scope: str,
    method: str,
    path: str,
    body: Json | None = None,
    machine: str | None = None,
) -> httpx.Response:
    """With a new token of this scope."""
    secret = f"art_{scope}_{machine}_{method}_{path}"
    token = Token(
        id=0,
        name=f"a {scope} token",
        scope=TokenScope(scope),
        machine=machine,
        hash=fingerprint(secret),
        created_at=0,
        expires_at=None,
        last_used_at=None,
    )
    with relay.relay.core.database.write() as transaction:
        if tokens.by_hash(transaction, token.hash) is None:
            tokens.add(transaction, token)
    headers = {"Authorization": f"Bearer {secret}"}
    return relay.client.request(method, path, json=body, headers=headers)


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_person_is_named_by_the_token_that_answered(relay: RunningRelay) -> None:
    approval = ask(relay, "of-m")

    answer = _call(relay, "admin", "POST", f"/api/approvals/{approval['id']}/decision", _ALLOW)

    assert (answer.status_code, answer.json()["decidedBy"]) == (200, "a admin token")


@pytest.mark.parametrize("scope", ["agent", "read"])
def test_sessions_and_onlookers_neither_decide_nor_launch_nor_stop(
    relay: RunningRelay, scope: str
) -> None:
    approval = ask(relay, "of-m")
    refused = [
        _call(relay, scope, "POST", f"/api/approvals/{approval['id']}/decision", _ALLOW),
        _call(relay, scope, "POST", "/api/machines/m/sessions", LAUNCH),
        _call(relay, scope, "POST", "/api/agents/of-m/stop", {}),
    ]

    assert [_refusal(answer) for answer in refused] == [(403, "forbidden")] * 3
    assert get(relay, approval) == approval
    assert relay.client.get("/api/machines/m/commands").json() == {"commands": []}


def test_an_onlooker_only_looks(relay: RunningRelay) -> None:
    approval, command = ask(relay, "of-m"), launched(relay)
    one, other = f"/api/approvals/{approval['id']}", f"/api/commands/{command['id']}"
    seen = [one, "/api/approvals", other, "/api/machines/m/commands"]
    refused = [
        _call(relay, "read", "POST", "/api/approvals", {"agentId": "of-m", **_ASKING}),
        _call(relay, "read", "POST", f"{one}/cancel", {}),
        _call(relay, "read", "PATCH", other, {"status": "accepted"}),
    ]

    assert [_call(relay, "read", "GET", path).status_code for path in seen] == [200] * 4
    assert [_refusal(answer) for answer in refused] == [(403, "forbidden")] * 3


def test_a_machines_token_speaks_only_for_that_machine(relay: RunningRelay) -> None:
    answers: dict[str, list[tuple[int, str | None]]] = {}
    for machine in ("m", "n"):
        approval, command = ask(relay, f"of-{machine}"), launched(relay, machine=machine)
        cancel, report = f"/api/approvals/{approval['id']}/cancel", f"/api/commands/{command['id']}"
        answers[machine] = [
            (answer.status_code, answer.json().get("code"))
            for answer in (
                _call(
                    *(relay, "agent", "POST", "/api/approvals"),
                    {"agentId": f"of-{machine}", **_ASKING},
                    "m",
                ),
                _call(relay, "agent", "POST", cancel, {}, "m"),
                _call(relay, "agent", "PATCH", report, {"status": "accepted"}, "m"),
            )
        ]

    assert answers["m"] == [(201, None), (200, None), (200, None)]
    assert answers["n"] == [(403, "sender_forbidden")] * 3


def test_only_its_own_machines_token_hears_its_commands(relay: RunningRelay) -> None:
    answer = _call(relay, "agent", "GET", "/api/stream?machine=n", machine="m")

    assert _refusal(answer) == (403, "sender_forbidden")
