"""Scoped tokens: what is asked for, what is shown, and what is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_server.clock import SystemClock, from_rfc3339, to_rfc3339
from relay_server.errors import InvalidRequest, NotFound
from relay_server.services.access import Access
from relay_server.services.tokens import Tokens
from relay_server.settings import from_sources
from relay_server.store.database import Database


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
