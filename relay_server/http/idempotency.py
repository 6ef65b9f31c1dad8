"""Idempotency keys for creating requests other than messages (those keep theirs in their row)."""

from collections.abc import Callable, Mapping
from typing import Any

from falcon import Request, Response

from relay_server.clock import Clock
from relay_server.errors import InvalidRequest
from relay_server.http.request import idempotency_key
from relay_server.services.render import dumps
from relay_server.services.sending import KEY_LIFE_MS, request_hash
from relay_server.store import answers
from relay_server.store.database import Database
from relay_server.wire import REPLAYED_HEADER


class Idempotency:
    """Runs a creating request once for each key of a sender."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def answer(
        self,
        request: Request,
        response: Response,
        scope: str,
        sender: str,
        given: Mapping[str, Any],
        create: Callable[[], tuple[int, object]],
    ) -> None:
        """Write the answer: `create`'s, or the first one again."""
        key = idempotency_key(request, None)
        if key is None:
            status, created = create()
            response.status = status
            response.data = dumps(created)
            return
        digest = request_hash(given)
        now = self._clock.now_ms()
        # One transaction around all: what is created and its answer are kept together or not.
        with self._database.write() as transaction:
            earlier = answers.get(transaction, scope, sender, key, now - KEY_LIFE_MS)
            if earlier is None:
                status, created = create()
                body = dumps(created)
                answer = answers.Answer(digest, status, body.decode())
                answers.save(transaction, scope, sender, key, answer, now)
            elif earlier.request_hash != digest:
                raise InvalidRequest(
                    "The idempotency key was used for a different request.",
                    code="idempotency_mismatch",
                )
            else:
                status, body = earlier.status, earlier.body.encode()
                response.set_header(REPLAYED_HEADER, "true")
        response.status = status
        response.data = body
