"""Creating requests that may be repeated: the same key gives the first answer again.

For everything but messages, which keep their key in their own row.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from relay_server.errors import InvalidRequest
from relay_server.services.core import Core
from relay_server.services.render import dumps
from relay_server.services.sending import KEY_LIFE_MS, request_hash
from relay_server.store import answers


class Outcome(NamedTuple):
    """What to answer."""

    status: int
    body: bytes
    is_replay: bool


class IdempotencyService:
    """Thread-safe; owns nothing but its core. `scope` tells kinds of requests apart."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def once(
        self,
        scope: str,
        sender: str,
        key: str | None,
        given: Mapping[str, Any],
        create: Callable[[], tuple[int, object]],
    ) -> Outcome:
        """`create`'s answer, or the first one. Raises: InvalidRequest `idempotency_mismatch`."""
        if key is None:
            status, created = create()
            return Outcome(status, dumps(created), is_replay=False)
        digest = request_hash(given)
        now = self._core.clock.now_ms()
        # One transaction around all: what is created and its answer are kept together or not.
        with self._core.database.write() as transaction:
            earlier = answers.get(transaction, scope, sender, key, now - KEY_LIFE_MS)
            if earlier is not None:
                return _again(earlier, digest)
            status, created = create()
            body = dumps(created)
            answer = answers.Answer(digest, status, body.decode())
            answers.save(transaction, scope, sender, key, answer, now)
        return Outcome(status, body, is_replay=False)


def _again(earlier: answers.Answer, digest: str) -> Outcome:
    if earlier.request_hash != digest:
        raise InvalidRequest(
            "The idempotency key was used for a different request.", code="idempotency_mismatch"
        )
    return Outcome(earlier.status, earlier.body.encode(), is_replay=True)
