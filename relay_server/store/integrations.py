"""Rows of integrations: those added while the relay is in use; the settings' have none."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from relay_server.domain.access import Integration
from relay_server.store.database import Reader, Transaction
from relay_server.wire import IntegrationScope


@dataclass(frozen=True, slots=True)
class Stored:
    """An integration and what only its row knows."""

    integration: Integration
    token_hash: str = field(repr=False)
    created_at: int


_SELECT: Final = (
    "SELECT name, token_hash, scopes, targets, channels, callback_url, callback_secret,"
    " webhook_secret, created_at FROM integrations"
)


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))


def _stored(row: tuple[Any, ...]) -> Stored:
    integration = Integration(
        name=row[0],
        scopes=frozenset(IntegrationScope(scope) for scope in json.loads(row[2])),
        targets=_listed(row[3]),
        channels=_listed(row[4]),
        callback_url=row[5],
        callback_secret=row[6],
        webhook_secret=row[7],
    )
    return Stored(integration, row[1], row[8])


def by_hash(reader: Reader, fingerprint: str) -> Stored | None:
    """The one whose token has this fingerprint."""
    row = reader.one(f"{_SELECT} WHERE token_hash = ?", (fingerprint,))
    return _stored(row) if row else None


def get(reader: Reader, name: str) -> Stored | None:
    """One integration."""
    row = reader.one(f"{_SELECT} WHERE name = ?", (name,))
    return _stored(row) if row else None


def all_integrations(reader: Reader) -> list[Stored]:
    """Every one, by name."""
    return [_stored(row) for row in reader.all(f"{_SELECT} ORDER BY name")]


def add(transaction: Transaction, stored: Stored) -> bool:
    """Whether the name was free."""
    given = stored.integration
    parameters = (
        given.name,
        stored.token_hash,
        json.dumps(sorted(given.scopes)),
        None if given.targets is None else json.dumps(given.targets),
        None if given.channels is None else json.dumps(given.channels),
        given.callback_url,
        given.callback_secret,
        given.webhook_secret,
        stored.created_at,
    )
    return (
        transaction.run(
            "INSERT INTO integrations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO NOTHING",
            parameters,
        )
        > 0
    )


def remove(transaction: Transaction, name: str) -> bool:
    """Whether it was there."""
    return transaction.run("DELETE FROM integrations WHERE name = ?", (name,)) > 0
