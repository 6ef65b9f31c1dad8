"""The receivers of other products' webhooks: real payloads in, tasks out."""

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.server.conftest import StartRelay
from tests.server.running import RunningRelay
from tests.server.test_connectors import payload

Json = dict[str, Any]
SECRET = "only-github-and-we-know"
INTEGRATIONS = [
    {"name": "prometheus", "token": "p-token", "scopes": ["tasks:create"], "targets": ["tag:ops"]},
    {"name": "many", "token": "m-token", "scopes": ["tasks:create"], "targets": ["tag:a", "tag:b"]},
    {"name": "anywhere", "token": "a-token", "scopes": ["tasks:create"]},
    {"name": "looker", "token": "l-token", "scopes": ["tasks:read"], "webhookSecret": SECRET},
    {
        "name": "repo",
        "token": "r-token",
        "scopes": ["tasks:create"],
        "targets": ["tag:backend"],
        "channels": ["issues"],
        "webhookSecret": SECRET,
    },
]
ALERTS = "/api/integrations/alertmanager"
GITHUB = "/api/integrations/repo/github"


@pytest.fixture
def relay(start_relay: StartRelay) -> RunningRelay:
    return start_relay(
        AGENT_RELAY_TOKEN="own-token", AGENT_RELAY_INTEGRATIONS=json.dumps(INTEGRATIONS)
    )


@pytest.fixture
def own(relay: RunningRelay) -> dict[str, str]:
    """The headers of the server's own token."""
    return bearer("own-token")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def send_alerts(
    relay: RunningRelay, sent: Any, token: str = "p-token", **where: str
) -> httpx.Response:
    return relay.client.post(ALERTS, params=where, json=sent, headers=bearer(token))


def deliver(
    relay: RunningRelay,
    sent: Any,
    *,
    event: str = "issues",
    delivery: str | None = None,
    path: str = GITHUB,
    secret: str = SECRET,
    headers: dict[str, Any] | None = None,
    **where: str,
) -> httpx.Response:
    """As GitHub sends it."""
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    all_headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": f"sha256={signature}",
        **({"X-GitHub-Delivery": delivery} if delivery else {}),
        **(headers or {}),
    }
    where = where or {"channel": "issues"}
    return relay.client.post(path, params=where, content=body, headers=all_headers)


def tasks(relay: RunningRelay, own: dict[str, str]) -> list[Json]:
    """All, oldest first."""
    found = relay.client.get("/api/tasks", headers=own).json()["tasks"]
    return sorted(found, key=lambda task: int(task["id"]))


def problem(answer: httpx.Response, status: int, code: str) -> Json:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return dict(answer.json())


# -- Alertmanager


def test_alerts_become_tasks_that_count_their_repeats_and_end_with_them(
    relay: RunningRelay, own: dict[str, str]
) -> None:
    first = send_alerts(relay, payload("alertmanager-firing"))
    again = send_alerts(relay, payload("alertmanager-firing"))
    one_less = send_alerts(relay, payload("alertmanager-one-resolved"))
    none_left = send_alerts(relay, payload("alertmanager-resolved"))

    answers = [first, again, one_less, none_left]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [result["created"] for result in first.json()["results"]] == [True, True]
    assert [result["deduped"] for result in again.json()["results"]] == [True, True]
    # The one that was resolved before has no open task any more.
    assert [result["task"] is None for result in none_left.json()["results"]] == [True, False]
    critical, warning = tasks(relay, own)
    assert (critical["source"], critical["status"], critical["occurrenceCount"]) == (
        "prometheus",
        "done",
        2,
    )
    assert (warning["target"], warning["status"], warning["occurrenceCount"]) == (
        "tag:ops",
        "done",
        3,
    )


def test_an_alerts_task_is_offered_to_its_target(relay: RunningRelay, own: dict[str, str]) -> None:
    card = {"id": "ops-1", "tags": ["ops"]}
    assert relay.client.post("/api/agents", json=card, headers=own).status_code == 201

    send_alerts(relay, payload("alertmanager-firing"))

    inbox = relay.client.get("/api/messages", params={"for": "ops-1"}, headers=own).json()
    assert [message["claimable"] for message in inbox["messages"]] == [True, True]
    assert "db-2" in inbox["messages"][0]["body"]


def test_all_alerts_of_a_delivery_are_taken_or_none(
    relay: RunningRelay, own: dict[str, str]
) -> None:
    sent = payload("alertmanager-firing")
    sent["alerts"][1]["labels"]["severity"] = 3

    refusal = problem(send_alerts(relay, sent), 422, "invalid_request")

    assert refusal["errors"][0]["field"] == "alerts[1].labels.severity"
    assert tasks(relay, own) == []


def test_alerts_over_the_rate_limit_are_refused_as_a_whole(start_relay: StartRelay) -> None:
    relay = start_relay(
        AGENT_RELAY_TOKEN="own-token",
        AGENT_RELAY_INTEGRATIONS=json.dumps(INTEGRATIONS),
        AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="1",
    )

    answer = send_alerts(relay, payload("alertmanager-firing"))

    problem(answer, 429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1
    assert tasks(relay, bearer("own-token")) == []


@pytest.mark.parametrize(
    ("token", "where", "status", "code"),
    [
        ("wrong", {}, 401, "unauthorized"),
        ("l-token", {}, 403, "forbidden"),
        ("p-token", {"target": "tag:other"}, 403, "target_forbidden"),
        ("r-token", {"channel": "other"}, 403, "channel_forbidden"),
        ("r-token", {}, 403, "channel_forbidden"),
        ("many", {}, 401, "unauthorized"),
        ("m-token", {}, 422, "invalid_request"),
        ("a-token", {}, 422, "invalid_request"),
        ("a-token", {"target": "no target!"}, 422, "invalid_request"),
        ("p-token", {"unknown": "x"}, 422, "invalid_request"),
    ],
)
def test_alerts_go_only_where_their_integration_may_send_them(
    relay: RunningRelay, token: str, where: dict[str, str], status: int, code: str
) -> None:
    answer = send_alerts(relay, payload("alertmanager-firing"), token, **where)

    problem(answer, status, code)


def test_alerts_may_name_their_target_and_channel(relay: RunningRelay, own: dict[str, str]) -> None:
    answer = send_alerts(
        relay, payload("alertmanager-firing"), "m-token", target="tag:b", channel="night"
    )

    assert answer.status_code == 200, answer.text
    assert {(task["target"], task["channel"]) for task in tasks(relay, own)} == {("tag:b", "night")}


@pytest.mark.parametrize("sent", [{}, {"alerts": [{}]}, {"alerts": 1}])
def test_what_is_not_from_alertmanager_is_refused(relay: RunningRelay, sent: Any) -> None:
    problem(send_alerts(relay, sent), 422, "invalid_request")


# -- GitHub


def test_an_issue_becomes_a_task_and_ends_with_it(relay: RunningRelay, own: dict[str, str]) -> None:
    opened = deliver(relay, payload("github-issues-opened"), delivery="d-1")
    closed = deliver(relay, payload("github-issues-closed"), delivery="d-2")

    assert (opened.status_code, closed.status_code) == (200, 200), opened.text + closed.text
    assert opened.json()["results"][0]["created"] is True
    (task,) = tasks(relay, own)
    assert (task["source"], task["status"], task["severity"]) == ("repo", "done", "high")
    assert task["externalUrl"] == "https://github.com/shop-example/checkout/issues/128"


def test_a_redelivery_changes_nothing(relay: RunningRelay, own: dict[str, str]) -> None:
    first = deliver(relay, payload("github-issues-opened"), delivery="d-1")
    again = deliver(relay, payload("github-issues-opened"), delivery="d-1")

    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [task["occurrenceCount"] for task in tasks(relay, own)] == [1]


def test_a_delivery_id_belongs_to_one_payload(relay: RunningRelay) -> None:
    deliver(relay, payload("github-issues-opened"), delivery="d-1")

    answer = deliver(relay, payload("github-issues-closed"), delivery="d-1")

    problem(answer, 422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("event", "file", "ignored"),
    [("ping", "github-ping", "ping"), ("issues", "github-issues-labeled", "issues.labeled")],
)
def test_other_deliveries_are_accepted_and_ignored(
    relay: RunningRelay, own: dict[str, str], event: str, file: str, ignored: str
) -> None:
    answer = deliver(relay, payload(file), event=event, delivery="d-1")

    assert (answer.status_code, answer.json()) == (200, {"results": [], "ignored": ignored})
    assert tasks(relay, own) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        {"X-Hub-Signature-256": b"\xe9"},
    ],
)
def test_a_wrong_signature_is_refused_before_anything_is_read(
    relay: RunningRelay, headers: dict[str, Any]
) -> None:
    problem(deliver(relay, b"{not json", headers=headers), 401, "unauthorized")


def test_a_signature_with_another_secret_is_refused(relay: RunningRelay) -> None:
    answer = deliver(relay, payload("github-issues-opened"), secret="another")

    problem(answer, 401, "unauthorized")


def test_our_own_token_is_no_signature(relay: RunningRelay, own: dict[str, str]) -> None:
    answer = deliver(relay, payload("github-issues-opened"), secret="another", headers=own)

    problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("name", ["prometheus", "nobody", "looker"])
def test_without_a_secret_or_the_scope_nothing_is_taken(relay: RunningRelay, name: str) -> None:
    path = f"/api/integrations/{name}/github"

    problem(deliver(relay, payload("github-issues-opened"), path=path), 403, "forbidden")


@pytest.mark.parametrize(
    ("sent", "headers", "status", "code"),
    [
        (b"{not json", {}, 400, "malformed_request"),
        (b"[]", {}, 422, "invalid_request"),
        (b"payload=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported"),
        (b"{}", {"X-GitHub-Event": ""}, 422, "invalid_request"),
        (b"{}", {"X-GitHub-Delivery": "d 1"}, 422, "invalid_request"),
        (b'{"action": "opened"}', {}, 422, "invalid_request"),
        (b'{"action": "a\\u0000b"}', {}, 422, "invalid_request"),
    ],
)
def test_a_signed_delivery_that_cannot_be_read_is_refused(
    relay: RunningRelay, sent: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = deliver(relay, sent, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.json()["code"].startswith(code)


def test_a_delivery_that_is_too_large_is_refused(relay: RunningRelay) -> None:
    problem(deliver(relay, b" " * (1024 * 1024 + 1)), 413, "payload_too_large")


def test_a_delivery_goes_only_where_its_integration_may_send_it(relay: RunningRelay) -> None:
    sent = payload("github-issues-opened")

    problem(deliver(relay, sent, target="tag:other", channel="issues"), 403, "target_forbidden")
    problem(deliver(relay, sent, channel="other"), 403, "channel_forbidden")


def test_a_refused_delivery_may_come_again(relay: RunningRelay, own: dict[str, str]) -> None:
    sent = payload("github-issues-opened")
    problem(deliver(relay, sent, delivery="d-1", channel="other"), 403, "channel_forbidden")

    assert deliver(relay, sent, delivery="d-1").status_code == 200
    assert len(tasks(relay, own)) == 1


def test_a_relay_without_a_token_checks_the_signature_all_the_same(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(AGENT_RELAY_INTEGRATIONS=json.dumps(INTEGRATIONS))

    problem(deliver(relay, payload("github-ping"), secret="another"), 401, "unauthorized")
    assert deliver(relay, payload("github-ping"), event="ping").status_code == 200
