#!/usr/bin/env python3
"""A whole agent: joins the relay, answers messages, does work, leaves. See docs/client.md.

    AGENT_RELAY_URL=http://localhost:4850 AGENT_RELAY_TOKEN=... python3 echo_agent.py ID

A message is acknowledged after it was answered, so a crash in between offers it again; the
idempotency key then makes the answer come out once. Ends with 0 on SIGTERM or Ctrl-C, with 1
when a newer run has taken the id over or the relay refuses the token.
"""

import contextlib
import signal
import sys

from relay_agentd.client import AgentdError, AlreadyClaimed, Message, NotFound, RelayClient


def work(relay: RelayClient, message: Message) -> None:
    """Answer; of what several could do, only what we get hold of. Again is harmless."""
    text = f"echo: {message.body[:1000]}"
    if message.claimable:
        relay.claim(message, lease=60)
        relay.complete(message, text)
    elif message.reply_to is None:  # answering answers would go on for ever
        relay.reply(message, text, key=f"answer-{message.id}")


def main(agent_id: str) -> None:
    """Until something raises."""
    with RelayClient(agent_id, capabilities=["echo"], patience=float("inf")) as relay:
        for message in relay.messages():
            # Claimed by another, or its sender is gone: there is nothing more to do.
            with contextlib.suppress(AlreadyClaimed, NotFound):
                work(relay, message)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: echo_agent.py ID")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1])
    except AgentdError as error:
        sys.exit(f"{sys.argv[1]}: {error} ({getattr(error, 'code', 'error')})")
    except KeyboardInterrupt:
        pass
