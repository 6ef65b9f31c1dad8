"""A token's fingerprint and form. Pure: made by `ids`, kept by `store/tokens.py`.

Tokens are long and random, so one plain SHA-256 keeps them as well as a slow hash would keep a
password, and costs each request a microsecond.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from relay_server.clock import from_rfc3339
from relay_server.wire import RESERVED_IDS, TokenScope

SCOPED_PREFIX: Final = "art_"
INTEGRATION_PREFIX: Final = "ari_"
MAX_NAME: Final = 80
MAX_MACHINE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One scoped token; its secret is known only to whoever holds it."""

    id: int
    name: str
    scope: TokenScope
    machine: str | None
    hash: str = field(repr=False)
    created_at: int
    expires_at: int | None
    last_used_at: int | None

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def fingerprint(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(as_bytes(token)).hexdigest()


def as_bytes(token: str) -> bytes:
    """Any text has its own bytes, also one that a hostile client made."""
    return token.encode("utf-8", "surrogatepass")


def has_our_form(token: str) -> bool:
    """Made by a relay: where it is not known it was revoked, or belongs to another relay."""
    return token.startswith((SCOPED_PREFIX, INTEGRATION_PREFIX))


def problems_of(given: Mapping[str, Any], now: int) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it) for everything wrong with a token that is asked for."""
    yield from ((name, "unknown field") for name in given if name not in _FIELDS)
    name = given.get("name")
    if not _is_visible(name, MAX_NAME):
        yield "name", f"expected 1..{MAX_NAME} visible characters"
    elif name in RESERVED_IDS:
        yield "name", "is a reserved word"
    if given.get("scope") not in tuple(TokenScope):
        yield "scope", f"expected {' or '.join(TokenScope)}"
    machine, expires = given.get("machine"), given.get("expiresAt")
    if machine is not None and not _is_visible(machine, MAX_MACHINE):
        yield "machine", f"expected 1..{MAX_MACHINE} visible characters"
    elif machine is not None and given.get("scope") == TokenScope.ADMIN:
        yield "machine", "an admin's token cannot be bound to one"
    if expires is not None and not _is_to_come(expires, now):
        yield "expiresAt", "expected a time to come, as 2026-11-22T16:41:00.123Z"


_FIELDS: Final = frozenset({"name", "scope", "machine", "expiresAt"})


def _is_visible(value: object, longest: int) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= longest
        and value.isprintable()
        and value == value.strip()
    )


def _is_to_come(value: object, now: int) -> bool:
    try:
        return isinstance(value, str) and from_rfc3339(value) > now
    except ValueError:
        return False
