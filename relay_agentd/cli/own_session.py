"""The session a command is used in, if it is: its words and its mail go by way of the daemon.

A program inside a session has no token, and must not need one: it speaks as its session's agent
and as nobody else, and what it sends while the relay is away goes out later.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from time import sleep
from typing import Any, Final

from relay_agentd.clock import monotonic
from relay_agentd.control_client import ControlClient
from relay_launchers.base import CONTROL_VARIABLE, SESSION_VARIABLE

_LOOK_SECONDS: Final = 0.25


class OwnSession:
    """See the module."""

    def __init__(self, key: str, client: ControlClient) -> None:
        self._key = key
        self._client = client

    @classmethod
    def around(cls) -> "OwnSession | None":
        """The session of this environment; None outside of any."""
        key, control = (os.environ.get(name) for name in (SESSION_VARIABLE, CONTROL_VARIABLE))
        return cls(key, ControlClient(Path(control))) if key and control else None

    def send(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send as the session's agent; None: it is kept and goes out when the relay is back.

        Raises: DaemonUnreachable, ControlRefused.
        """
        answer = self._client.call(
            "session.send",
            session=self._key,
            message=dict(message),
            key=f"cli-{secrets.token_hex(16)}",
            timeout=30.0,
        )
        sent: dict[str, Any] | None = answer["message"]
        return sent

    def mail(self, limit: int, *, wait: float) -> dict[str, Any]:
        """What waits for the session, as an envelope of the API; it counts as read from now on.

        Raises: DaemonUnreachable, ControlRefused.
        """
        deadline = monotonic() + wait
        key = f"cli-{secrets.token_hex(16)}"
        while True:
            answer = self._client.call("session.mail", session=self._key, limit=limit, key=key)
            if answer["messages"] or monotonic() >= deadline:
                return {"messages": answer["messages"], "more": answer["left"] > 0}
            sleep(_LOOK_SECONDS)
