"""Rows of scoped tokens. What is kept of a secret is its SHA-256."""

from collections.abc import Mapping
from typing import Any, Final

from relay_server.domain.token import Token
from relay_server.store.database import Reader, Transaction
from relay_server.wire import TokenScope

_SELECT: Final = (
    "SELECT id, name, scope, machine, hash, created_at, expires_at, last_used_at FROM tokens"
)


def _token(row: tuple[Any, ...]) -> Token:
    return Token(
        id=row[0],
        name=row[1],
        scope=TokenScope(row[2]),
        machine=row[3],
        hash=row[4],
        created_at=row[5],
        expires_at=row[6],
        last_used_at=row[7],
    )


def by_hash(reader: Reader, fingerprint: str) -> Token | None:
    """The token with this fingerprint."""
    row = reader.one(f"{_SELECT} WHERE hash = ?", (fingerprint,))
    return _token(row) if row else None


def get(reader: Reader, token_id: int) -> Token | None:
    """One token."""
    row = reader.one(f"{_SELECT} WHERE id = ?", (token_id,))
    return _token(row) if row else None


def all_tokens(reader: Reader) -> list[Token]:
    """Every token, oldest first."""
    return [_token(row) for row in reader.all(f"{_SELECT} ORDER BY id")]


def add(transaction: Transaction, token: Token) -> Token:
    """Keep it under an id never used before; the token with that id."""
    transaction.run(
        "INSERT INTO tokens (name, scope, machine, hash, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (token.name, token.scope, token.machine, token.hash, token.created_at, token.expires_at),
    )
    added = by_hash(transaction, token.hash)
    assert added is not None
    return added


def remove(transaction: Transaction, token_id: int) -> bool:
    """Whether it was there."""
    return transaction.run("DELETE FROM tokens WHERE id = ?", (token_id,)) > 0


def mark_used(transaction: Transaction, used: Mapping[int, int]) -> None:
    """When each was last used."""
    transaction.run_many(
        "UPDATE tokens SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
        [(at, token_id) for token_id, at in used.items()],
    )
