"""A machine of a test's own: a home, a port, and the command line on it as real processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from relay_agentd.control_client import ControlClient
from tests.support.ports import free_port
from tests.support.processes import end_all, marked
from tests.support.providers import MARKER, IsolatedHome
from tests.support.terminal import Terminal
from tests.support.wait import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = REPOSITORY / "tests" / "cli" / "stand_in"


class Machine:
    """Everything started on it carries a marker and is ended with it."""

    def __init__(self) -> None:
        self.home = IsolatedHome()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        """Of every command; the stand-in provider is installed."""
        variables = {
            "AGENT_RELAY_URL": self.url,
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{STAND_IN}",
        }
        return self.home.environment(**(variables | more))

    def run(
        self, *arguments: str, stdin: str | None = None, within: float = 30.0, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """One command in a pipe, to its end."""
        return subprocess.run(
            self.argv(*arguments),
            env=self.environment(**more),
            cwd=self.home.project,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def run_script(self, name: str, *, python: str | None) -> "subprocess.CompletedProcess[str]":
        """A script of the repository where `python3` has that version, or is not there."""
        programs = self.home.path / "programs"
        programs.mkdir()
        for tool in ("sh", "dirname", "cat", "mkdir", "cksum"):
            (programs / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
        if python:
            fake = programs / "python3"
            fake.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {python} || exit 1\n')
            fake.chmod(0o755)
        return subprocess.run(
            [programs / "sh", REPOSITORY / "scripts" / name],
            env={"PATH": str(programs), "HOME": str(self.home.path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        """One command in a pipe, running."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.environment(**more),
            cwd=self.home.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def terminal(self, *arguments: str, **more: str) -> Terminal:
        """One command in a terminal window."""
        return Terminal(self.argv(*arguments), self.environment(**more), self.home.project)

    def shell(self) -> Terminal:
        """An interactive shell with job control, in which `relay-agentd` is known."""
        program = self.home.path / "relay-agentd"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m relay_agentd "$@"\n')
        program.chmod(0o755)
        path = f"{self.home.path}{os.pathsep}{os.environ['PATH']}"
        environment = self.environment(PATH=path, PS1="shell> ", ENV="")
        return Terminal(["bash", "--norc", "--noprofile", "-i"], environment, self.home.project)

    @staticmethod
    def argv(*arguments: str) -> list[str]:
        """A command as the installed script would run it."""
        return [sys.executable, "-m", "relay_agentd", *arguments]

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sessions(self) -> list[dict[str, Any]]:
        """What the daemon says runs here."""
        sessions: list[dict[str, Any]] = self.json("ps")["sessions"]
        return sessions

    def a_session(self) -> dict[str, Any]:
        """The one session here, once it is on the relay."""

        def registered() -> dict[str, Any] | None:
            sessions = self.sessions()
            return sessions[0] if len(sessions) == 1 and sessions[0].get("pid") else None

        return eventually(registered, 10.0) or {}

    def daemon_process(self) -> psutil.Process:
        """The daemon that answers now."""
        with ControlClient(self._control_socket()).connect() as connection:
            return psutil.Process(connection.call("ping")["pid"])

    def kill_relay(self) -> None:
        """As a crash would."""
        for process in marked(MARKER, str(self.home.path)):
            if "relay_server" in process.cmdline():
                _kill(process)

    def kill_daemon(self) -> None:
        """As a crash would."""
        _kill(self.daemon_process())

    def _control_socket(self) -> Path:
        return next(self.home.runtime.glob("**/control-*.sock"))

    def close(self) -> None:
        """End all that was started here and remove the home."""
        end_all(MARKER, str(self.home.path))
        self.home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _kill(process: psutil.Process) -> None:
    process.kill()
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
