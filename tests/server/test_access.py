"""Who a token or a cookie makes of its bearer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_server.domain.access import OWNER
from relay_server.domain.token import SCOPED_PREFIX, Token, fingerprint
from relay_server.errors import Unauthorized
from relay_server.services.access import Access
from relay_server.services.integrations import Integrations
from relay_server.settings import from_sources
from relay_server.store import tokens
from relay_server.store.database import Database
from relay_server.wire import IntegrationScope, TokenScope

CI = '[{"name": "ci", "token": "ci-secret", "scopes": ["tasks:create"]}]'


class StandingClock:
    """Time moves when told."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class Place:
    """A database and those who know its bearers."""

    def __init__(self, folder: Path, **environment: str) -> None:
        values = {"AGENT_RELAY_DB": str(folder / "relay.db"), **environment}
        self.settings = from_sources([values])
        self.clock = StandingClock()
        self.database = Database(self.settings.database)
        self.access = Access(self.settings, self.database, self.clock)
        self.integrations = Integrations(self.settings, self.database, self.clock, self.access)

    def token(
        self, scope: str = "read", *, secret: str = "x", expires_at: int | None = None
    ) -> str:
        """Made behind this process's back, as by the command line."""
        token = SCOPED_PREFIX + secret
        made = Token(
            id=0,
            name="phone",
            scope=TokenScope(scope),
            machine=None,
            hash=fingerprint(token),
            created_at=self.clock.ms,
            expires_at=expires_at,
            last_used_at=None,
        )
        with self.database.write() as transaction:
            tokens.add(transaction, made)
        return token

    def take_back(self, token_id: int = 1) -> None:
        with self.database.write() as transaction:
            tokens.remove(transaction, token_id)

    def last_used(self) -> int | None:
        with self.database.read() as reader:
            return tokens.all_tokens(reader)[0].last_used_at


@pytest.fixture
def open_place(tmp_path: Path) -> Iterator[Place]:
    """Loopback without a token."""
    place = Place(tmp_path, AGENT_RELAY_INTEGRATIONS=CI)
    yield place
    place.database.close()


@pytest.fixture
def closed_place(tmp_path: Path) -> Iterator[Place]:
    """With a token."""
    place = Place(tmp_path, AGENT_RELAY_TOKEN="main", AGENT_RELAY_INTEGRATIONS=CI)
    yield place
    place.database.close()


@pytest.mark.parametrize("wrong", [None, "", "mai", "main ", "wrong", "\ud800", "ä", "art_x"])
def test_nobody_comes_in_without_the_token(closed_place: Place, wrong: str | None) -> None:
    assert closed_place.access.identify(wrong) is None


def test_the_servers_own_token_is_the_owners(closed_place: Place) -> None:
    assert closed_place.access.identify("main") is OWNER


@pytest.mark.parametrize("any_text", [None, "", "whatever", "main", "\ud800"])
def test_without_a_token_of_its_own_a_server_trusts_everyone(
    open_place: Place, any_text: str | None
) -> None:
    assert open_place.access.identify(any_text) is OWNER


@pytest.mark.parametrize("lost", ["art_gone", "ari_gone"])
def test_a_lost_token_of_ours_makes_nobody_an_owner(open_place: Place, lost: str) -> None:
    assert open_place.access.identify(lost) is None


def test_an_integration_of_the_settings_is_known_by_its_token(
    open_place: Place, closed_place: Place
) -> None:
    for place in (open_place, closed_place):
        principal = place.access.identify("ci-secret")

        assert principal is not None
        assert (principal.name, principal.scope) == ("ci", None)
        assert principal.integration is not None
        assert principal.integration.scopes == {IntegrationScope.TASKS_CREATE}


@pytest.mark.parametrize("scope", list(TokenScope))
def test_a_scoped_token_is_what_its_scope_says(
    open_place: Place, closed_place: Place, scope: str
) -> None:
    principal = closed_place.access.identify(closed_place.token(scope))

    assert principal is not None
    assert (principal.name, principal.scope) == ("phone", scope)


def test_an_added_integration_is_known_until_it_is_removed(closed_place: Place) -> None:
    token = closed_place.integrations.add({"name": "alerts", "scopes": []})["token"]

    known = closed_place.access.identify(token)
    assert known is not None
    assert known.integration == closed_place.integrations.by_name("alerts")
    closed_place.integrations.remove("alerts")

    assert closed_place.access.identify(token) is None


def test_a_token_revoked_elsewhere_ends_within_a_second(closed_place: Place) -> None:
    token = closed_place.token()
    assert closed_place.access.identify(token)
    closed_place.take_back()

    closed_place.clock.ms += 999
    assert closed_place.access.identify(token)
    closed_place.clock.ms += 1
    assert closed_place.access.identify(token) is None


def test_a_token_made_elsewhere_is_known_at_once(closed_place: Place) -> None:
    assert closed_place.access.identify("art_x") is None

    assert closed_place.access.identify(closed_place.token())


def test_an_expired_token_is_unknown_from_that_millisecond_on(closed_place: Place) -> None:
    token = closed_place.token(expires_at=closed_place.clock.ms + 500)

    closed_place.clock.ms += 499
    assert closed_place.access.identify(token)
    closed_place.clock.ms += 1
    assert closed_place.access.identify(token) is None


def test_remembered_tokens_are_bounded(closed_place: Place) -> None:
    made = [closed_place.token(secret=str(number)) for number in range(1100)]

    assert all(closed_place.access.identify(token) for token in made)
    assert len(closed_place.access._known) == 1000


def test_the_last_use_is_written_once_a_minute_and_known_before(closed_place: Place) -> None:
    access, clock = closed_place.access, closed_place.clock
    token = closed_place.token()
    access.write_uses(clock.ms)

    access.identify(token)
    access.write_uses(clock.ms + 59_999)
    assert closed_place.last_used() is None
    assert access.last_used() == {1: clock.ms}
    access.write_uses(clock.ms + 60_000)

    assert closed_place.last_used() == clock.ms
    assert access.last_used() == {}


@pytest.mark.parametrize("scope", list(TokenScope))
def test_a_cookie_is_as_good_as_the_token_it_was_given_for(closed_place: Place, scope: str) -> None:
    token = closed_place.token(scope)
    cookie = closed_place.access.log_in(token)

    assert cookie is not None
    assert cookie.startswith("1.")
    assert token not in cookie
    assert closed_place.access.identify_cookie(cookie) == closed_place.access.identify(token)
    closed_place.take_back()
    closed_place.access.forget()
    assert closed_place.access.identify_cookie(cookie) is None


def test_the_owners_cookie_ends_with_the_token(tmp_path: Path, closed_place: Place) -> None:
    cookie = closed_place.access.log_in("main")
    assert cookie is not None
    assert closed_place.access.identify_cookie(cookie) is OWNER

    settings = from_sources([{"AGENT_RELAY_TOKEN": "another"}])
    changed = Access(settings, closed_place.database, closed_place.clock)

    assert changed.identify_cookie(cookie) is None


def test_an_expired_token_ends_its_cookie(closed_place: Place) -> None:
    cookie = closed_place.access.log_in(closed_place.token(expires_at=closed_place.clock.ms + 1))
    assert cookie is not None

    closed_place.clock.ms += 1

    assert closed_place.access.identify_cookie(cookie) is None


def test_only_people_log_in(closed_place: Place) -> None:
    token = closed_place.integrations.add({"name": "alerts", "scopes": []})["token"]

    for refused in ("wrong", "ci-secret", token, ""):
        with pytest.raises(Unauthorized):
            closed_place.access.log_in(refused)


def test_on_an_open_server_only_a_scoped_token_gets_a_cookie(open_place: Place) -> None:
    assert open_place.access.log_in("whatever") is None

    cookie = open_place.access.log_in(open_place.token("read"))

    assert cookie is not None
    principal = open_place.access.identify_cookie(cookie)
    assert principal is not None
    assert principal.scope is TokenScope.READ


@pytest.mark.parametrize(
    "wrong",
    ["", ".", "0.", "0", "1.", "1.x", "7.x", "-1.x", "²." + "a" * 64, "9" * 5000 + ".a", "0.ä"],
)
def test_no_other_cookie_is_good(open_place: Place, closed_place: Place, wrong: str) -> None:
    closed_place.token()

    assert closed_place.access.identify_cookie(wrong) is None
    assert open_place.access.identify_cookie(wrong) is None


def test_the_database_alone_opens_no_session(closed_place: Place) -> None:
    """Whoever reads a backup has the hashes, not the server's token."""
    token = closed_place.token("admin")
    without = Access(from_sources([{}]), closed_place.database, closed_place.clock)

    forged = without.log_in(token)

    assert forged is not None
    assert closed_place.access.identify_cookie(forged) is None
