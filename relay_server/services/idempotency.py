"""Creating requests that may be repeated: the same key gives the first answer again.

For everything but messages, which keep their key in their own row. An answer that holds a secret is
kept in memory only: after a restart its key is known, and refused.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from relay_server.errors import Conflict, InvalidRequest
from relay_server.services.core import Core
from relay_server.services.render import dumps
from relay_server.services.sending import KEY_LIFE_MS, request_hash
from relay_server.store import answers

_MOST_SECRETS: Final = 1000


class Outcome(NamedTuple):
    """What to answer."""

    status: int
    body: bytes
    is_replay: bool


class IdempotencyService:
    """Thread-safe: its secrets are used under the writer lock. `scope` tells requests apart."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._secret: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    def once(
        self,
        scope: str,
        sender: str,
        key: str | None,
        given: Mapping[str, Any],
        create: Callable[[], tuple[int, object]],
        is_secret: bool = False,
    ) -> Outcome:
        """`create`'s answer, or the first one.

        Raises: InvalidRequest `idempotency_mismatch`; Conflict for a secret that is forgotten.
        """
        if key is None:
            status, created = create()
            return Outcome(status, dumps(created), is_replay=False)
        digest = request_hash(given)
        now = self._core.clock.now_ms()
        # One transaction around all: what is created and its answer are kept together or not.
        with self._core.database.write() as transaction:
            earlier = answers.get(transaction, scope, sender, key, now - KEY_LIFE_MS)
            if earlier is not None:
                return self._again(earlier, digest, (scope, sender, key))
            status, created = create()
            body = dumps(created)
            kept = "" if is_secret else body.decode()
            answers.save(transaction, scope, sender, key, answers.Answer(digest, status, kept), now)
            if is_secret:
                transaction.on_commit(lambda: self._remember((scope, sender, key), body))
        return Outcome(status, body, is_replay=False)

    def _remember(self, place: tuple[str, str, str], body: bytes) -> None:
        self._secret[place] = body
        if len(self._secret) > _MOST_SECRETS:
            self._secret.popitem(last=False)

    def _again(self, earlier: answers.Answer, digest: str, place: tuple[str, str, str]) -> Outcome:
        if earlier.request_hash != digest:
            raise InvalidRequest(
                "The idempotency key was used for a different request.",
                code="idempotency_mismatch",
            )
        body = earlier.body.encode() or self._secret.get(place)
        if body is None:
            raise Conflict(
                "This was made, but its secret is shown no more: delete it, make another."
            )
        return Outcome(earlier.status, body, is_replay=True)
