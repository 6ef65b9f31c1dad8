"""Looking for a message at the relay that may have been sent already, and whose idempotency key the
relay may have forgotten (it remembers keys for 24 h). Runs on the daemon's loop, owns nothing."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.relay_client import AsyncRelayClient

_PAGE: Final = 500


async def find_sent(
    client: AsyncRelayClient,
    sender: str,
    is_it: Callable[[Mapping[str, Any]], bool],
    *,
    since: float,
) -> Mapping[str, Any] | None:
    """The sender's message that `is_it`, among those the relay got after `since`; None: it has
    none. Raises: RelayUnreachable, RelayRefused."""
    before: int | None = None
    while True:
        call = calls.messages(sender=sender, before=before, limit=_PAGE)
        messages = (await client.request(call))["messages"]
        for message in messages:
            if is_it(message):
                found: Mapping[str, Any] = message
                return found
            if datetime.fromisoformat(message["createdAt"]).timestamp() < since:
                return None
        if len(messages) < _PAGE:
            return None
        before = messages[-1]["id"]
