"""Scoped tokens: made, listed, taken back. A secret is shown by `create` and nowhere else."""

from collections.abc import Mapping
from typing import Any

from relay_server.clock import Clock, from_rfc3339
from relay_server.domain.token import SCOPED_PREFIX, Token, fingerprint, problems_of
from relay_server.errors import InvalidRequest, NotFound
from relay_server.ids import new_token
from relay_server.services.access import Access
from relay_server.services.render import Json
from relay_server.services.render_access import token_json
from relay_server.store import tokens
from relay_server.store.database import Database
from relay_server.wire import TokenScope


class Tokens:
    """Thread-safe; owns nothing."""

    def __init__(self, database: Database, clock: Clock, access: Access) -> None:
        self._database = database
        self._clock = clock
        self._access = access

    def create(self, given: Mapping[str, Any]) -> Json:
        """The new token with its secret. Raises: InvalidRequest."""
        now = self._clock.now_ms()
        problems = list(problems_of(given, now))
        if problems:
            raise InvalidRequest.of(problems)
        secret = new_token(SCOPED_PREFIX)
        expires = given.get("expiresAt")
        token = Token(
            id=0,  # the database gives it
            name=given["name"],
            scope=TokenScope(given["scope"]),
            machine=given.get("machine"),
            hash=fingerprint(secret),
            created_at=now,
            expires_at=None if expires is None else from_rfc3339(expires),
            last_used_at=None,
        )
        with self._database.write() as transaction:
            token = tokens.add(transaction, token)
        return {**token_json(token, None), "token": secret}

    def all(self) -> list[Json]:
        """Every token, oldest first; expired ones too, until they are deleted."""
        used = self._access.last_used()
        with self._database.read() as reader:
            found = tokens.all_tokens(reader)
        return [token_json(token, used.get(token.id, token.last_used_at)) for token in found]

    def delete(self, token_id: int) -> None:
        """It is worth nothing from now on. Raises: NotFound."""
        with self._database.write() as transaction:
            is_gone = tokens.remove(transaction, token_id)
            transaction.on_commit(self._access.forget)
        if not is_gone:
            raise NotFound(f"There is no token {token_id}.", code="token_not_found")
