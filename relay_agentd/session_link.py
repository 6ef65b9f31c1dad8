"""A launcher's control connection: held as long as the session lives.

The daemon sees the launcher's death as its end; the launcher sees the daemon's. After the
daemon's end the link is taken up again by `session.attach` with all that was said before, and the
daemon itself is started when nobody else does. `watch` does so on a thread of its own while the
main thread waits for the provider; until `watch` and after `stop_watching` the link belongs to
the main thread. Never both at once, so there are no locks.
"""

import os
import random
import select
import threading
from collections.abc import Callable, Mapping
from typing import Any

from relay_agentd.clock import monotonic
from relay_agentd.control_client import ANSWER_SECONDS, ControlClient, ControlConnection
from relay_agentd.errors import AgentdError, DaemonUnreachable

# A service manager restarts its daemon within a second; only when nobody does, we do. Spread, so
# that of many launchers the first one's daemon is there before the others start theirs.
_LEFT_TO_OTHERS_SECONDS = 0.8
_SPREAD_SECONDS = 1.2
_RETRY_SECONDS = 0.2
# After the daemon refused the session, or could not be started.
_REFUSED_SECONDS = 1.0
# Connecting the adapter is part of what reporting the helper waits for.
_ADAPTER_SECONDS = 15.0
# During the start the person waits; a daemon that stays away that long is reported.
_ATTACH_SECONDS = 10.0


Process = Mapping[str, Any] | None


class SessionLink:
    """One session's connection to the daemon, and what has been told over it."""

    def __init__(
        self, client: ControlClient, start_daemon: Callable[[], None], **description: Any
    ) -> None:
        """`start_daemon` must be harmless when another one starts it too."""
        self._client = client
        self._start_daemon = start_daemon
        self._description = description
        # Everything told since, in the form `session.attach` takes it.
        self._told: dict[str, Any] = {}
        self._connection: ControlConnection | None = None
        self._watcher: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()

    def open(self) -> dict[str, Any]:
        """Announce the session. Raises: DaemonUnreachable, ControlRefused."""
        self._connection = self._client.connect()
        return self._connection.call("session.open", **self._description)

    def plan(self, *, session_id: str | None, approval_overrides: list[str]) -> None:
        """Report what the plan decided. Raises: DaemonUnreachable, ControlRefused."""
        fields = {"sessionId": session_id, "approvalOverrides": approval_overrides}
        self._tell("session.plan", fields, told=fields)

    def helper(self, process: Process, socket: str) -> None:
        """Report the helper; returns when the daemon's adapter is connected to it.

        Raises: DaemonUnreachable, ControlRefused.
        """
        fields = {"process": process, "socket": socket}
        self._tell("session.helper", fields, told={"helper": fields}, timeout=_ADAPTER_SECONDS)

    def close(self, exit_status: int, *, timeout: float) -> bool:
        """Say that the session ended. False: the daemon did not answer in time."""
        if not self._stop_watching(timeout):
            return False
        try:
            self._require().call("session.closed", timeout=timeout, exitStatus=exit_status)
        except AgentdError:
            return False
        return True

    def hang_up(self) -> None:
        """Close the connection for good: the daemon takes the session for ended."""
        if self._stop_watching(0):
            self._drop()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def watch(self, provider: Process) -> None:
        """Report the provider, and from then on see to it that a daemon knows the session."""
        self._watcher = threading.Thread(
            target=self._keep, args=(provider,), name="session link", daemon=True
        )
        self._watcher.start()

    def _tell(
        self,
        op: str,
        fields: dict[str, Any],
        *,
        told: dict[str, Any],
        timeout: float = ANSWER_SECONDS,
    ) -> None:
        """Report, over a new connection when the daemon was restarted in between."""
        self._told |= told
        try:
            self._require().call(op, timeout=timeout, **fields)
        except DaemonUnreachable:
            # Attaching says all of it again.
            self._attach_within(_ATTACH_SECONDS)

    def _require(self) -> ControlConnection:
        if self._connection is None:
            raise DaemonUnreachable("relay-agentd went away")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attach(self) -> None:
        """Take the session up at whatever daemon is there now, with all that was said."""
        self._drop()
        connection = self._client.connect()
        try:
            connection.call("session.attach", **self._description, **self._told)
        except AgentdError:
            connection.close()
            raise
        self._connection = connection

    def _attach_within(self, seconds: float) -> None:
        """Attach, starting the daemon when nobody else does. Raises: DaemonUnreachable."""
        lost = monotonic()
        started = False
        patience = _LEFT_TO_OTHERS_SECONDS + random.uniform(0, _SPREAD_SECONDS)  # noqa: S311 - no secret
        while True:
            try:
                self._attach()
            except DaemonUnreachable:
                away = monotonic() - lost
                if away >= seconds or self._told_to_stop(_RETRY_SECONDS):
                    raise
                if away >= patience and not started:
                    self._start_daemon()
                    started = True
            else:
                return

    def _keep(self, provider: Process) -> None:
        """The watcher: report, wait for the daemon's end, attach again, until told to stop."""
        try:
            told = {"providerProcess": provider}
            self._tell("session.provider", {"process": provider}, told=told)
        except (AgentdError, OSError):
            self._drop()
        while not self._told_to_stop(None):
            # A daemon that cannot start, or will not have the session back, must not end the
            # session: the provider goes on without the relay, and we keep trying.
            try:
                self._attach_within(_ATTACH_SECONDS)
            except (AgentdError, OSError):
                self._drop()

    def _told_to_stop(self, seconds: float | None) -> bool:
        """Wait for the word to stop; without `seconds` also for the connection's end."""
        watched: list[Any] = [self._wake_read]
        if seconds is None and self._connection is not None:
            watched.append(self._connection)
        elif seconds is None:
            seconds = _REFUSED_SECONDS
        readable, _, _ = select.select(watched, [], [], seconds)
        return self._wake_read in readable

    def _stop_watching(self, seconds: float) -> bool:
        """Take the link back from the watcher. False: it hangs in a request to a dead daemon."""
        if self._watcher is not None:
            os.write(self._wake_write, b"x")
            self._watcher.join(seconds)
            if self._watcher.is_alive():
                return False
            self._watcher = None
        return True
