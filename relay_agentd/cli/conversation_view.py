"""A session of this machine on the screen: the end of its record, and what is added to it."""

import os
import select
import sys
from dataclasses import asdict
from pathlib import Path
from time import sleep
from typing import Any, Self, cast

import click

import relay_agentd
from relay_agentd.cli.machine import daemon
from relay_agentd.cli.output import print_json, wrapped
from relay_agentd.errors import AgentdError
from relay_agentd.paths import Paths
from relay_agentd.session_log import HEAD_WIDTH, Follower, read_tail, render
from relay_launchers.base import (
    BackgroundProvider,
    Binary,
    Command,
    LaunchRequest,
    LogEntry,
    ProviderNotFound,
)
from relay_launchers.environment import without_session
from relay_launchers.registry import UnknownProvider, find_provider

_POLL_SECONDS = 0.25
_OPEN_STATES = ("STARTING", "RUNNING", "BACKOFF")


class NothingToShow(AgentdError):
    """The session has no record that can be read."""


class View:
    """One session, as the daemon described it."""

    def __init__(self, session: dict[str, Any], *, as_json: bool) -> None:
        self._session = session
        self._as_json = as_json
        self._name = session.get("agentId") or session["key"]
        try:
            self._provider = cast("BackgroundProvider", find_provider(session["provider"]))
        except UnknownProvider as error:
            raise NothingToShow(str(error)) from error
        self._follower: Follower | None = None

    @classmethod
    def of(cls, target: str, *, as_json: bool) -> Self:
        """A session by agent id, label or key. Raises: DaemonUnreachable, ControlRefused."""
        return cls(daemon().call("session.view", target=target)["session"], as_json=as_json)

    def show_tail(self, count: int) -> None:
        """Its last entries. Raises: NothingToShow."""
        path = self._record()
        if path is None:
            if self._session["state"] in _OPEN_STATES:
                return
            raise NothingToShow(f"{self._name} has left no record of its conversation")
        # First, so that nothing is missed in between.
        self._follower = Follower(path, self._provider)
        if path.exists():
            for entry in read_tail(path, self._provider, count):
                self._show(entry)

    def follow(self, *, speak: bool = False) -> None:
        """What is added, until the session ends (or, in a terminal, Ctrl-C); with `speak` lines
        typed here are sent to it."""
        while True:
            if self._follower is None and (path := self._record()) is not None:
                self._follower = Follower(path, self._provider)
            added = self._follower.read() if self._follower is not None else []
            for entry in added:
                self._show(entry)
            if not added and not self._is_open():
                return
            if not speak:
                sleep(_POLL_SECONDS)
            elif select.select([sys.stdin], [], [], _POLL_SECONDS)[0]:
                line = sys.stdin.readline()
                speak = line != ""
                self._say(line.strip())

    def require_running(self) -> None:
        """Raises: NothingToShow."""
        if self._session["kind"] != "background" or not self._is_open():
            raise NothingToShow(
                f"{self._name} does not run in the background; `relay-agentd logs {self._name}`"
                " shows what happened in it"
            )

    def terminal_command(self) -> Command | None:
        """The provider's own terminal on it, if it has one. Raises: NothingToShow."""
        session = self._session
        if session["state"] != "RUNNING" or not session["socket"] or not session["conversation"]:
            problem = session.get("problem") or "try again in a moment"
            raise NothingToShow(f"{self._name} is {session['state']}: {problem}")
        environment = without_session(os.environ)
        try:
            binary = self._provider.find(environment)
        except ProviderNotFound as error:
            raise NothingToShow(str(error)) from error
        socket = Path(session["socket"])
        return self._provider.attach_command(
            self._request(socket.parent, binary, environment), socket, session["conversation"]
        )

    # --- inside ---

    def _request(self, folder: Path, binary: Binary, environment: dict[str, str]) -> LaunchRequest:
        session = self._session
        return LaunchRequest(
            session_key=session["key"],
            folder=folder,
            cwd=Path(session["cwd"]),
            approval=session["approval"],
            arguments=session["arguments"],
            binary=binary,
            control_socket=Paths.default().control_socket,
            python=Path(sys.executable),
            pipe=Path(relay_agentd.__file__).with_name("mcp_pipe.py"),
            environment=environment,
        )

    def _record(self) -> Path | None:
        if not hasattr(self._provider, "read_log"):
            raise NothingToShow(f"the records of {self._session['provider']} cannot be read")
        if self._session["transcript"] is None:
            self._session = daemon().call("session.view", target=self._session["key"])["session"]
        transcript = self._session["transcript"]
        return Path(transcript) if transcript else None

    def _is_open(self) -> bool:
        found = daemon().call("session.view", target=self._session["key"])["session"]
        return found["state"] in _OPEN_STATES

    def _say(self, text: str) -> None:
        from relay_agentd.cli.relay import relay
        from relay_agentd.relay_calls import send

        if text and self._session["agentId"]:
            with relay() as client:
                message = {"from": "operator", "to": self._session["agentId"], "body": text}
                client.request(send(message))

    def _show(self, entry: LogEntry) -> None:
        if self._as_json:
            print_json(asdict(entry), lines=True)
            return
        for line in render(entry):
            click.echo(wrapped(line, indent=HEAD_WIDTH))
