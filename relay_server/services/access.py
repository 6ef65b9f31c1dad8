"""Who calls: the principal behind a token or a browser's cookie. Asked on every request.

The server's own token is compared without a query. A scoped one is remembered for a second: that
is how long one lives on that was revoked on the command line; what this process revokes ends at
once. When a token was last used is kept in memory, and written by the sweeper.
"""

import hashlib
import hmac
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from relay_server.clock import Clock
from relay_server.domain.access import OWNER, Principal
from relay_server.domain.token import Token, as_bytes, fingerprint, has_our_form
from relay_server.errors import Unauthorized
from relay_server.settings import Settings
from relay_server.store import integrations, tokens
from relay_server.store.database import Database

_REMEMBERED_SECONDS: Final = 1.0
_MOST_REMEMBERED: Final = 1000
_USES_WRITTEN_EVERY_MS: Final = 60_000
# A row's number in the cookie of a scoped token; rows start at 1.
_OWN: Final = 0
_DIGITS_OF_AN_ID: Final = 18


@dataclass(frozen=True, slots=True)
class _Known:
    """A principal found in the database, with its token when it has a row in `tokens`."""

    principal: Principal
    token: Token | None
    until: float


class Access:
    """Thread-safe: the lock guards what is remembered, never held during a query."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._own = as_bytes(settings.token) if settings.token else None
        self._configured = {
            configured.token_hash: Principal(
                name=configured.integration.name, scope=None, integration=configured.integration
            )
            for configured in settings.integrations
        }
        self._configured_names = {
            principal.name for principal in self._configured.values() if principal.integration
        }
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str | int, _Known] = OrderedDict()
        self._changes = 0
        self._used: dict[int, int] = {}
        self._uses_written_at = 0

    def identify(self, token: str | None) -> Principal | None:
        """Who may speak with this token, or without any; None: nobody."""
        if token is None:
            return OWNER if self._own is None else None
        if self._own is not None and hmac.compare_digest(as_bytes(token), self._own):
            return OWNER
        found = self._bearer(token)
        if found is not None:
            return found
        # Without a token of its own a server trusts whoever reaches it, whatever his client is
        # set up with; but one who lost a token of ours must not gain by that.
        return OWNER if self._own is None and not has_our_form(token) else None

    def is_good(self, principal: Principal) -> bool:
        """Whether its token still is: what stays open must not outlive it."""
        return principal.token_id is None or self._recall(principal.token_id) is not None

    def identify_cookie(self, value: str) -> Principal | None:
        """Who logged in for this cookie, as long as that token is good."""
        number, _, seal = value.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS_OF_AN_ID):
            return None
        token_id = int(number)
        if token_id == _OWN:
            own = self._own is not None and _equal(seal, self._seal(b""))
            return OWNER if own else None
        known = self._recall(token_id)
        if known is None or known.token is None:
            return None
        if not _equal(seal, self._seal(known.token.hash.encode())):
            return None
        return self._use(known)

    def log_in(self, token: str) -> str | None:
        """The cookie for a browser; None where no token is needed. Raises: Unauthorized."""
        principal = self.identify(token)
        if principal is None:
            raise Unauthorized("The token is wrong.")
        if principal.integration is not None:
            raise Unauthorized("An integration's token cannot log in.")
        if principal is OWNER:
            return None if self._own is None else f"{_OWN}.{self._seal(b'')}"
        known = self._recall(fingerprint(token))
        if known is None or known.token is None:  # revoked since
            raise Unauthorized("The token is wrong.")
        return f"{known.token.id}.{self._seal(known.token.hash.encode())}"

    def forget(self) -> None:
        """A token or an integration has gone or come: ask the database again."""
        with self._lock:
            self._changes += 1
            self._known.clear()

    def last_used(self) -> dict[int, int]:
        """When each token was last used, as far as it is not in the database yet."""
        with self._lock:
            return dict(self._used)

    def write_uses(self, now: int) -> None:
        """At most once a minute: for the sweeper."""
        if now < self._uses_written_at + _USES_WRITTEN_EVERY_MS:
            return
        self._uses_written_at = now
        with self._lock:
            used, self._used = self._used, {}
        if used:
            with self._database.write() as transaction:
                tokens.mark_used(transaction, used)

    def _bearer(self, token: str) -> Principal | None:
        digest = fingerprint(token)
        configured = self._configured.get(digest)
        if configured is not None:
            return configured
        # Rows are only made for tokens of our form: other texts cost no query.
        known = self._recall(digest) if has_our_form(token) else None
        return None if known is None else self._use(known)

    def _recall(self, key: str | int) -> _Known | None:
        """By fingerprint or by a token's number; from the database when not asked just now."""
        with self._lock:
            known = self._known.get(key)
            changes = self._changes
        if known is None or known.until <= self._clock.monotonic():
            known = self._look_up(key)
            self._remember(key, known, changes)
        if known and known.token and known.token.is_expired(self._clock.now_ms()):
            return None
        return known

    def _remember(self, key: str | int, known: _Known | None, changes: int) -> None:
        with self._lock:
            if known is None:
                self._known.pop(key, None)
            # What was read before a change may be what the change took away.
            elif changes == self._changes:
                self._known[key] = known
                self._known.move_to_end(key)
                if len(self._known) > _MOST_REMEMBERED:
                    self._known.popitem(last=False)

    def _look_up(self, key: str | int) -> _Known | None:
        until = self._clock.monotonic() + _REMEMBERED_SECONDS
        with self._database.read() as reader:
            token = tokens.get(reader, key) if isinstance(key, int) else tokens.by_hash(reader, key)
            stored = None
            if token is None and isinstance(key, str):
                stored = integrations.by_hash(reader, key)
        if token is not None:
            principal = Principal(
                name=token.name, scope=token.scope, machine=token.machine, token_id=token.id
            )
            return _Known(principal, token, until)
        # The settings came later and took the name over.
        if stored is None or stored.integration.name in self._configured_names:
            return None
        name = stored.integration.name
        return _Known(Principal(name=name, scope=None, integration=stored.integration), None, until)

    def _use(self, known: _Known) -> Principal:
        if known.token is not None:
            now = self._clock.now_ms()
            with self._lock:
                self._used[known.token.id] = now
        return known.principal

    def _seal(self, token_hash: bytes) -> str:
        """Also keyed by the server's token, so that a copied database opens no browser session."""
        key = (self._own or b"") + b"\0" + token_hash
        return hmac.new(key, b"agent-relay browser session", hashlib.sha256).hexdigest()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(as_bytes(given), expected.encode())
