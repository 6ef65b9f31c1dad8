"""Integrations: how they are written, where they come from, how much they may send."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_server import settings as all_settings
from relay_server.clock import SystemClock
from relay_server.errors import BadSettings, Conflict, InvalidRequest, NotFound, RateLimited
from relay_server.services.access import Access
from relay_server.services.integrations import Integrations
from relay_server.settings import Settings, from_sources
from relay_server.store.database import Database
from relay_server.wire import IntegrationScope
from tests.server.conftest import StartRelay

GOOD: dict[str, Any] = {
    "name": "ops.alerts-1",
    "token": "s3cret",
    "scopes": ["tasks:create", "tasks:read"],
    "targets": ["tag:ops", "operator"],
    "channels": [],
    "callbackUrl": "https://example.test:8443/hook?x=1",
    "callbackSecret": "signs",
    "webhookSecret": "checks",
}


def _settings(*listed: object, **environment: str) -> Settings:
    return from_sources([{"AGENT_RELAY_INTEGRATIONS": json.dumps(listed), **environment}])


def _problems(*listed: object, **environment: str) -> list[str]:
    with pytest.raises(BadSettings) as raised:
        _settings(*listed, **environment)
    return [
        line.removeprefix("AGENT_RELAY_INTEGRATIONS") for line in str(raised.value).splitlines()
    ]


@pytest.fixture
def integrations(tmp_path: Path) -> Iterator[Integrations]:
    settings = _settings(GOOD, AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="2")
    database, clock = Database(tmp_path / "relay.db"), SystemClock()
    yield Integrations(settings, database, clock, Access(settings, database, clock))
    database.close()


def test_the_setting_is_read_whole() -> None:
    [configured] = _settings(GOOD).integrations

    found = configured.integration
    assert found.scopes == {IntegrationScope.TASKS_CREATE, IntegrationScope.TASKS_READ}
    assert (found.targets, found.channels) == (("tag:ops", "operator"), ())
    assert found.callback_url == GOOD["callbackUrl"]
    assert (found.callback_secret, found.webhook_secret) == ("signs", "checks")


def test_what_is_left_out_is_not_limited() -> None:
    [configured] = _settings({"name": "a", "token": "t", "scopes": []}).integrations

    assert (configured.integration.targets, configured.integration.channels) == (None, None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "a b"}, "[1].name: expected"),
        ({"name": "x" * 65}, "[1].name: expected"),
        ({"name": None}, "[1].name: expected"),
        ({"name": "operator"}, "[1].name: is a reserved word"),
        ({"name": "first"}, "[1].name: another integration"),
        ({"token": ""}, "[1].token: expected"),
        ({"token": 7}, "[1].token: expected"),
        ({"token": "first-token"}, "[1].token: another integration"),
        ({"token": "own"}, "[1].token: AGENT_RELAY_TOKEN is the same"),
        ({"scopes": None}, "[1].scopes: expected"),
        ({"scopes": ["tasks:create", "all"]}, "[1].scopes[1]: expected tasks:create or"),
        ({"scopes": [["x"]]}, "[1].scopes[0]: expected"),
        ({"targets": ["tag:"]}, "[1].targets[0]: expected"),
        ({"targets": "tag:ops"}, "[1].targets: expected"),
        ({"channels": ["a b"]}, "[1].channels[0]: expected"),
        ({"callbackUrl": "ftp://example.test"}, "[1].callbackUrl: expected"),
        ({"callbackUrl": "http://"}, "[1].callbackUrl: expected"),
        ({"callbackUrl": "http://me:s3cret@example.test"}, "[1].callbackUrl: expected"),
        ({"callbackUrl": "http://example.test:port"}, "[1].callbackUrl: expected"),
        ({"callbackUrl": "http://[::1"}, "[1].callbackUrl: expected"),
        ({"callbackUrl": "http://example.test/\r\nX: 1"}, "[1].callbackUrl: expected"),
        ({"callbackSecret": ""}, "[1].callbackSecret: expected"),
        ({"webhookSecret": ["s3cret"]}, "[1].webhookSecret: expected"),
        ({"callbackSecert": "s3cret"}, "[1].callbackSecert: unknown field"),
    ],
)
def test_each_problem_is_named_with_its_position_and_without_a_secret(
    change: dict[str, Any], problem: str
) -> None:
    first = {"name": "first", "token": "first-token", "scopes": []}

    problems = _problems(first, GOOD | change, AGENT_RELAY_TOKEN="own")

    assert len(problems) == 1
    assert problems[0].startswith(problem)
    assert not any(secret in problems[0] for secret in ("s3cret", "signs", "checks", "first-token"))


def test_all_problems_are_told_together() -> None:
    assert len(_problems(7, {"name": "a"}, {"token": "t", "scopes": [1, 2]})) == 6


@pytest.mark.parametrize("text", ["{", "{}", "null", "[" * 100_000, '[{"token": "s3cret"'])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="AGENT_RELAY_INTEGRATIONS") as raised:
        from_sources([{"AGENT_RELAY_INTEGRATIONS": text}])

    assert "s3cret" not in str(raised.value)
    assert len(str(raised.value)) < 200


def test_shown_settings_name_the_integrations_and_nothing_else_of_them() -> None:
    shown = dict(all_settings.describe(_settings(GOOD)))

    assert shown["AGENT_RELAY_INTEGRATIONS"] == "(set: ops.alerts-1)"
    assert shown["AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE"] == "120"
    assert "s3cret" not in repr(_settings(GOOD).integrations[0])


def test_those_added_stand_beside_those_of_the_settings(integrations: Integrations) -> None:
    fields = {name: value for name, value in GOOD.items() if name != "token"}
    added = integrations.add({**fields, "name": "later"})
    token = added.pop("token")

    assert token.startswith("ari_")
    assert added == {
        "name": "later",
        "scopes": GOOD["scopes"],
        "targets": GOOD["targets"],
        "channels": [],
        "callbackUrl": GOOD["callbackUrl"],
        "hasCallbackSecret": True,
        "hasWebhookSecret": True,
        "origin": "database",
        "createdAt": added["createdAt"],
    }
    assert integrations.all() == [
        added,
        {**added, "name": "ops.alerts-1", "origin": "settings", "createdAt": None},
    ]


def test_a_name_is_given_once(integrations: Integrations) -> None:
    integrations.add({"name": "later", "scopes": []})

    for name in ("later", "ops.alerts-1"):
        with pytest.raises(Conflict):
            integrations.add({"name": name, "scopes": []})


def test_wrong_fields_are_named(integrations: Integrations) -> None:
    with pytest.raises(InvalidRequest) as raised:
        integrations.add({"name": "later", "scopes": ["all"], "token": "mine"})

    fields = [error["field"] for error in raised.value.extra["errors"]]
    assert fields == ["token", "scopes[0]"]


def test_those_of_the_settings_cannot_be_removed(integrations: Integrations) -> None:
    integrations.add({"name": "later", "scopes": []})
    integrations.remove("later")

    assert integrations.by_name("later") is None
    with pytest.raises(NotFound):
        integrations.remove("later")
    with pytest.raises(Conflict):
        integrations.remove("ops.alerts-1")


def test_each_has_its_own_minute(integrations: Integrations) -> None:
    for name in ("a", "a", "b", "b"):
        integrations.count_event(name)

    with pytest.raises(RateLimited) as raised:
        integrations.count_event("a")

    assert 1 <= int(raised.value.headers["Retry-After"]) <= 60


# -- over HTTP


def test_an_integration_works_from_its_adding_to_its_removal(start_relay: StartRelay) -> None:
    relay = start_relay()
    relay.agent("a")
    fields = {name: value for name, value in GOOD.items() if name != "token"}
    event = {"title": "Disk full", "target": "operator"}

    added = relay.client.post("/api/integrations", json={**fields, "channels": None})
    made = added.json()
    headers = {"Authorization": f"Bearer {made.pop('token')}"}
    posted = relay.client.post("/api/integrations/events", json=event, headers=headers)
    beyond = relay.client.post(
        "/api/integrations/events", json={**event, "target": "broadcast"}, headers=headers
    )
    elsewhere = relay.client.get("/api/agents", headers=headers)
    listed = relay.client.get("/api/integrations").json()
    removed = relay.client.delete("/api/integrations/ops.alerts-1")
    late = relay.client.post("/api/integrations/events", json=event, headers=headers)
    again = relay.client.delete("/api/integrations/ops.alerts-1")

    assert (added.status_code, posted.status_code) == (201, 201), posted.text
    assert (beyond.status_code, elsewhere.status_code) == (403, 403)
    assert listed == {"integrations": [made]}
    assert not any(secret in json.dumps(listed) for secret in ("signs", "checks", "ari_"))
    assert (removed.status_code, late.status_code) == (204, 401)
    assert (again.status_code, again.json()["code"]) == (404, "integration_not_found")


def test_names_that_are_taken_are_refused(start_relay: StartRelay) -> None:
    relay = start_relay(AGENT_RELAY_INTEGRATIONS=json.dumps([GOOD]))

    def add(**fields: Any) -> httpx.Response:
        return relay.client.post("/api/integrations", json={"scopes": [], **fields})

    assert add(name="ops.alerts-1").json()["code"] == "conflict"
    assert add(name="events").status_code == 422
    assert add(name="system").status_code == 422
    assert add(name="a", callbackUrl="file:///etc/passwd").status_code == 422
    assert relay.client.delete("/api/integrations/ops.alerts-1").json()["code"] == "conflict"
    assert relay.client.delete("/api/integrations/a b").json()["code"] == "integration_not_found"


def test_events_beyond_the_limit_are_refused_for_a_while(start_relay: StartRelay) -> None:
    relay = start_relay(AGENT_RELAY_INTEGRATION_RATE_LIMIT_PER_MINUTE="3")
    event = {"title": "Disk full", "target": "operator", "dedupeKey": "disk"}
    fields = {"name": "free", "scopes": ["tasks:create"]}
    token = relay.client.post("/api/integrations", json=fields).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}

    statuses = [
        relay.client.post("/api/integrations/events", json=event, headers=headers) for _ in range(4)
    ]

    assert [answer.status_code for answer in statuses] == [201, 200, 200, 429]
    assert 1 <= int(statuses[3].headers["Retry-After"]) <= 60
