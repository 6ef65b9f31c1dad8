"""Scoped tokens: what is asked for, what is shown, and what is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay_server.clock import SystemClock, from_rfc3339, to_rfc3339
from relay_server.errors import InvalidRequest, NotFound
from relay_server.services.access import Access
from relay_server.services.tokens import Tokens
from relay_server.settings import from_sources
from relay_server.store.database import Database
from tests.server.conftest import Background, StartRelay
from tests.server.running import LaterClock, RunningRelay
from tests.support.wait import eventually


class Place:
    """A database with its tokens."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "relay.db")
        self.clock = SystemClock()
        settings = from_sources([{"AGENT_RELAY_TOKEN": "main"}])
        self.access = Access(settings, self.database, self.clock)
        self.tokens = Tokens(self.database, self.clock, self.access)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.database.close()


def test_a_token_is_shown_once_and_kept_as_a_hash(place: Place) -> None:
    given = {"name": "Anna's phone", "scope": "read", "expiresAt": "2099-01-01T00:00:00Z"}

    made = place.tokens.create(given)
    secret = made.pop("token")

    assert secret.startswith("art_")
    assert len(secret) > 40
    assert made == {
        "id": 1,
        "name": "Anna's phone",
        "scope": "read",
        "machine": None,
        "expiresAt": "2099-01-01T00:00:00.000Z",
        "createdAt": made["createdAt"],
        "lastUsedAt": None,
    }
    assert place.tokens.all() == [made]
    place.database.close()
    files = [path.read_bytes() for path in place.database.path.parent.glob("relay.db*")]
    assert not any(secret.encode() in content for content in files)


def test_each_token_is_another(place: Place) -> None:
    made = [place.tokens.create({"name": "same", "scope": "agent"}) for _ in range(5)]

    assert len({each["token"] for each in made}) == 5
    assert [each["id"] for each in place.tokens.all()] == [1, 2, 3, 4, 5]


def test_a_token_deleted_here_ends_at_once(place: Place) -> None:
    made = place.tokens.create({"name": "a", "scope": "agent", "machine": "m"})
    principal = place.access.identify(made["token"])
    assert principal is not None
    assert principal.machine == "m"

    place.tokens.delete(made["id"])

    assert place.access.identify(made["token"]) is None
    with pytest.raises(NotFound):
        place.tokens.delete(made["id"])


def test_an_id_is_never_given_again(place: Place) -> None:
    """A cookie names its token by it."""
    place.tokens.delete(place.tokens.create({"name": "a", "scope": "read"})["id"])

    assert place.tokens.create({"name": "b", "scope": "read"})["id"] == 2


def test_the_list_knows_of_a_use_before_the_database_does(place: Place) -> None:
    made = place.tokens.create({"name": "a", "scope": "read"})
    place.access.identify(made["token"])

    assert place.tokens.all()[0]["lastUsedAt"] is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " a"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a" * 81}, "name"),
        ({"name": "system"}, "name"),
        ({"scope": "root"}, "scope"),
        ({"scope": None}, "scope"),
        ({"scope": []}, "scope"),
        ({"machine": ""}, "machine"),
        ({"machine": "m", "scope": "admin"}, "machine"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "2099-01-01"}, "expiresAt"),
        ({"expiresAt": "2099-01-01T00:00:00"}, "expiresAt"),
        ({"expiresAt": "2099-13-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "9999-12-31T23:59:59-23:59"}, "expiresAt"),
        ({"expiresAt": 4102444800}, "expiresAt"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_what_cannot_be_a_token_is_refused(
    place: Place, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        place.tokens.create({"name": "a", "scope": "read", **change})

    assert [error["field"] for error in raised.value.extra["errors"]] == [field]
    assert place.tokens.all() == []


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-22T16:41:00.123Z", "2026-11-22T16:41:00.123Z"),
        ("2026-11-22t16:41:00z", "2026-11-22T16:41:00.000Z"),
        ("2026-11-22T18:41:00.1239+02:00", "2026-11-22T16:41:00.123Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_read_to_the_millisecond(text: str, same: str) -> None:
    assert to_rfc3339(from_rfc3339(text)) == same


# -- over HTTP


def _client(relay: RunningRelay, token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=relay.url, headers=headers, trust_env=False)


@pytest.fixture
def owner(start_relay: StartRelay) -> Iterator[httpx.Client]:
    """The owner of a relay that has a token."""
    with _client(start_relay(AGENT_RELAY_TOKEN="main"), "main") as client:
        yield client


def _made(owner: httpx.Client, scope: str = "read", **fields: Any) -> Any:
    answer = owner.post("/api/tokens", json={"name": "phone", "scope": scope, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_token_works_from_its_making_to_its_deletion(owner: httpx.Client) -> None:
    made = _made(owner)
    secret = made.pop("token")

    with httpx.Client(base_url=owner.base_url, headers=_bearer(secret), trust_env=False) as phone:
        assert phone.get("/api/agents").status_code == 200
        assert phone.post("/api/agents", json={"id": "a"}).status_code == 403
        assert phone.get("/api/tokens").status_code == 403
        [listed] = owner.get("/api/tokens").json()["tokens"]
        deleted = owner.delete(f"/api/tokens/{made['id']}")
        refused = phone.get("/api/agents")
    again = owner.delete(f"/api/tokens/{made['id']}")

    assert listed == {**made, "lastUsedAt": listed["lastUsedAt"]}
    assert listed["lastUsedAt"] is not None
    assert (deleted.status_code, refused.status_code) == (204, 401)
    assert (again.status_code, again.json()["code"]) == (404, "token_not_found")
    assert owner.delete("/api/tokens/none").json()["code"] == "token_not_found"


@pytest.mark.parametrize("scope", ["read", "agent"])
def test_only_an_admin_has_to_do_with_tokens(owner: httpx.Client, scope: str) -> None:
    headers = _bearer(_made(owner, scope)["token"])

    answers = [
        owner.get("/api/tokens", headers=headers),
        owner.post("/api/tokens", json={"name": "a", "scope": "admin"}, headers=headers),
        owner.delete("/api/tokens/1", headers=headers),
        owner.get("/api/integrations", headers=headers),
        owner.post("/api/integrations", json={"name": "a", "scopes": []}, headers=headers),
        owner.delete("/api/integrations/a", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [403] * 6


def test_a_token_that_has_expired_is_refused(start_relay: StartRelay, clock: LaterClock) -> None:
    relay = start_relay(clock=clock, AGENT_RELAY_TOKEN="main")
    with _client(relay, "main") as owner:
        expiry = to_rfc3339(clock.now_ms() + 3_600_000)
        headers = _bearer(_made(owner, expiresAt=expiry)["token"])
        before = owner.get("/api/agents", headers=headers).status_code
        clock.advance(3601)
        after = owner.get("/api/agents", headers=headers).status_code

    assert (before, after) == (200, 401)


def test_repeating_shows_the_secret_again_until_a_restart(
    start_relay: StartRelay, tmp_path: Path
) -> None:
    first = start_relay()
    key = {"Idempotency-Key": "k"}
    given = {"name": "phone", "scope": "read"}

    made = first.client.post("/api/tokens", json=given, headers=key)
    again = first.client.post("/api/tokens", json=given, headers=key)
    other = first.client.post("/api/tokens", json={**given, "scope": "agent"}, headers=key)
    first.stop()
    kept = (tmp_path / "relay.db").read_bytes()
    second = start_relay()
    late = second.client.post("/api/tokens", json=given, headers=key)

    assert again.json() == made.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert made.json()["token"].encode() not in kept
    assert (late.status_code, late.json()["code"]) == (409, "conflict")
    assert len(second.client.get("/api/tokens").json()["tokens"]) == 1


@pytest.mark.parametrize("path", ["/api/stream?agent=a", "/api/events"])
def test_nothing_more_is_heard_with_a_token_that_was_revoked(
    start_relay: StartRelay, path: str
) -> None:
    relay = start_relay(AGENT_RELAY_TOKEN="main")
    relay.client.headers["Authorization"] = "Bearer main"
    relay.agent("a")
    made = _made(relay.client, "agent")
    with relay.stream(path, headers=_bearer(made["token"])) as followed:
        relay.send("operator", "a", "heard")
        eventually(lambda: "heard" in str(followed.events))
        relay.client.delete(f"/api/tokens/{made['id']}")

        relay.send("operator", "a", "secret")

        eventually(lambda: followed.has_ended)
    assert "secret" not in str(followed.events)


def test_a_long_poll_does_not_outlive_its_token(
    start_relay: StartRelay, background: Background
) -> None:
    relay = start_relay(AGENT_RELAY_TOKEN="main")
    relay.client.headers["Authorization"] = "Bearer main"
    relay.agent("a")
    made = _made(relay.client, "agent")
    with _client(relay, made["token"]) as client:
        waiting = background(client.get, "/api/messages?for=a&wait=20")
        eventually(lambda: relay.relay.core.slots.parked == 1)
        relay.client.delete(f"/api/tokens/{made['id']}")
        relay.send("operator", "a", "secret")

        answer = waiting.result(timeout=10)

    assert answer.status_code == 401


@pytest.mark.parametrize("open_to_all", [True, False])
def test_a_browser_logs_in_with_a_scoped_token(start_relay: StartRelay, open_to_all: bool) -> None:
    relay = start_relay(AGENT_RELAY_TOKEN="" if open_to_all else "main")
    with _client(relay, None if open_to_all else "main") as owner:
        made = _made(owner)
        with _client(relay, None) as browser:
            cookie = browser.post("/api/login", json={"token": made["token"]})
            looked = browser.get("/api/agents").status_code
            changed = browser.post("/api/agents", json={"id": "a"}).status_code
            owner.delete(f"/api/tokens/{made['id']}")
            revoked = browser.get("/api/agents").status_code
            refused = browser.post("/api/login", json={"token": made["token"]})

    assert cookie.status_code == 204
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.headers["Set-Cookie"].split("; "))
    assert made["token"] not in cookie.headers["Set-Cookie"]
    assert (looked, changed) == (200, 403)
    # Without a cookie that is good, the browser is who it would be without any.
    assert revoked == (200 if open_to_all else 401)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


def test_a_wrong_token_is_not_taken_for_a_missing_one(start_relay: StartRelay) -> None:
    relay = start_relay()
    with _client(relay, None) as browser:
        token = _made(browser)["token"]
        browser.post("/api/login", json={"token": token})

        assert browser.get("/api/agents", headers=_bearer("art_revoked")).status_code == 401
