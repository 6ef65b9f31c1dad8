"""`relay-agentd run`: one provider session in the person's terminal, on the relay.

The launcher process. It makes sure relay and daemon run, lets the provider's package plan, starts
the helper and then the provider, waits, and cleans up; its exit status is the provider's. What it
starts is tied to it (`spawn`), what it announced is tied to its control connection
(`session_link`): whichever line it is killed at, kernel and daemon clean up after it.
"""

import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Any, NoReturn

import relay_agentd
from relay_agentd.autostart import Machine, ensure_running, start_daemon
from relay_agentd.clock import monotonic
from relay_agentd.control_client import ControlClient
from relay_agentd.errors import AgentdError
from relay_agentd.process import ProcessId, send_signal
from relay_agentd.session_environment import marked_environment
from relay_agentd.session_folder import last_words, remove_session_folder, write_private
from relay_agentd.session_link import SessionLink
from relay_agentd.spawn import Child, spawn_tied
from relay_agentd.terminal import KeyboardSignals, TerminalModes, exit_status, stop_like
from relay_launchers.base import (
    ArgumentsRefused,
    Command,
    LaunchPlan,
    LaunchRequest,
    Provider,
    ProviderNotFound,
)
from relay_launchers.environment import without_session
from relay_launchers.registry import UnknownProvider, find_provider

_HELPER_READY_SECONDS = 15.0
_HELPER_GRACE_SECONDS = 5.0
_FAREWELL_SECONDS = 2.0
_POLL_SECONDS = 0.01


class LaunchFailed(AgentdError):
    """The session could not be started."""


class ProviderMissing(AgentdError):
    """The provider's program is not there, as a shell would report it."""

    exit_status = 127


class ProviderUnknown(AgentdError):
    """There is no such provider: wrong use."""

    exit_status = 2


class ArgumentsWrong(AgentdError):
    """The provider cannot be started that way."""

    exit_status = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the person asked for."""

    provider: str
    arguments: tuple[str, ...]
    cwd: Path
    machine: Machine
    autostart: bool


def run_session(launch: Launch) -> int:
    """Run one session to its end and return what to exit with. Raises: AgentdError."""
    provider, request = _request(launch)
    plan = _plan(provider, request)
    if not plan.on_relay:
        _become(plan.provider)
    ensure_running(launch.machine, may_start=launch.autostart)
    link = _link(launch, request)
    try:
        with _endings_raise():
            request = replace(request, folder=Path(link.open()["folder"]))
            # Planned again: the daemon has the say where the folder is.
            session = _Session(link, request, _plan(provider, request))
            session.prepare()
        return session.run()
    finally:
        link.hang_up()


class _Session:
    """One session's processes, from the plan to the end."""

    def __init__(self, link: SessionLink, request: LaunchRequest, plan: LaunchPlan) -> None:
        self._link = link
        self._request = request
        self._plan = plan
        self._helper: Child | None = None
        self._provider: ProcessId | None = None
        self._early: list[signal.Signals] = []

    def prepare(self) -> None:
        """Write the plan's files, start the helper. Ends the helper when anything fails."""
        plan = self._plan
        self._link.plan(
            session_id=plan.provider_session_id, approval_overrides=list(plan.approval_overrides)
        )
        for path, text in plan.files.items():
            write_private(path, text)
        if plan.helper is None or plan.helper_socket is None:
            return
        log = self._request.folder / "helper.log"
        try:
            self._helper = self._spawn(plan.helper, log=log)
            _wait_for_socket(plan.helper_socket, self._helper, log)
            process = _wire(ProcessId.of(self._helper.pid))
            self._link.helper(process, str(plan.helper_socket))
        except BaseException:
            self._end_helper()
            raise

    def run(self) -> int:
        """Give the provider the terminal, wait for its end, clean up."""
        modes = TerminalModes()
        with KeyboardSignals(self._forward):
            try:
                status = self._run_provider()
                if os.WIFSIGNALED(status):
                    modes.restore()
            except BaseException:
                self._end(1)
                raise
            self._end(exit_status(status))
        return exit_status(status)

    def _run_provider(self) -> int:
        child = self._spawn(self._plan.provider)
        self._provider = ProcessId.of(child.pid)
        for signum in self._early:
            self._forward(signum)
        if self._provider is not None:
            self._link.watch(_wire(self._provider))
        return child.wait_following_stops(stop_like)

    def _forward(self, signum: signal.Signals) -> None:
        if self._provider is None:
            # It is just being started, and gets it then.
            self._early.append(signum)
        else:
            send_signal(self._provider, signum)

    def _end(self, status: int) -> None:
        # The helper ends while the daemon says goodbye to the relay.
        if self._helper is not None:
            self._helper.ask_to_end()
        told = self._link.close(status, timeout=_FAREWELL_SECONDS)
        self._end_helper()
        if not told:
            remove_session_folder(self._request.folder)

    def _end_helper(self) -> None:
        if self._helper is not None:
            self._helper.end(grace=_HELPER_GRACE_SECONDS)

    def _spawn(self, command: Command, *, log: Path | None = None) -> Child:
        marked = marked_environment(command, self._request)
        try:
            return spawn_tied(command.argv, marked, command.cwd, log=log)
        except FileNotFoundError as error:
            raise ProviderMissing(f"cannot start {command.argv[0]}: {error.strerror}") from error
        except OSError as error:
            raise LaunchFailed(f"cannot start {command.argv[0]}: {error.strerror}") from error


def _request(launch: Launch) -> tuple[Provider, LaunchRequest]:
    """The provider and what it needs to plan. Raises: ProviderUnknown, ProviderMissing."""
    machine = launch.machine
    key = secrets.token_hex(8)
    environment = without_session(machine.environment)
    try:
        provider = find_provider(launch.provider)
        binary = provider.find(environment)
    except UnknownProvider as error:
        raise ProviderUnknown(str(error)) from error
    except ProviderNotFound as error:
        raise ProviderMissing(str(error)) from error
    request = LaunchRequest(
        session_key=key,
        folder=machine.paths.session_folder(key),
        cwd=launch.cwd,
        approval=machine.settings.approval.value,
        arguments=launch.arguments,
        binary=binary,
        control_socket=machine.paths.control_socket,
        python=Path(sys.executable),
        pipe=Path(relay_agentd.__file__).with_name("mcp_pipe.py"),
        environment=environment,
    )
    return provider, request


def _own_name(launch: Launch) -> str | None:
    """A program of no provider goes by its own name."""
    return Path(launch.arguments[0]).name if launch.provider == "command" else None


def _plan(provider: Provider, request: LaunchRequest) -> LaunchPlan:
    """Raises: ArgumentsWrong."""
    try:
        return provider.plan(request)
    except ArgumentsRefused as error:
        raise ArgumentsWrong(str(error)) from error


def _link(launch: Launch, request: LaunchRequest) -> SessionLink:
    settings = launch.machine.settings

    def restart_daemon() -> None:
        if launch.autostart:
            start_daemon(launch.machine)

    return SessionLink(
        ControlClient(launch.machine.paths.control_socket),
        restart_daemon,
        key=request.session_key,
        provider=launch.provider,
        cwd=str(launch.cwd),
        **{**settings.described(), "rig": settings.rig or _own_name(launch)},
        launcher=_wire(ProcessId.of(os.getpid())),
        providerVersion=request.binary.version,
        arguments=list(launch.arguments),
    )


def _become(command: Command) -> NoReturn:
    """An invocation that is no session: run it as if we had never been there."""
    os.chdir(command.cwd)
    try:
        os.execve(command.argv[0], command.argv, dict(command.environment))  # noqa: S606
    except OSError as error:
        raise ProviderMissing(f"cannot start {command.argv[0]}: {error.strerror}") from error


def _wait_for_socket(socket: Path, helper: Child, log: Path) -> None:
    """Raises: LaunchFailed with the helper's last words."""
    deadline = monotonic() + _HELPER_READY_SECONDS
    while not socket.is_socket():
        ended = helper.exit_code()
        if ended is not None or monotonic() >= deadline:
            what = "was not ready in time" if ended is None else f"ended at once (status {ended})"
            raise LaunchFailed(f"the provider's helper process {what}{last_words(log)}")
        sleep(_POLL_SECONDS)


@contextmanager
def _endings_raise() -> Iterator[None]:
    """While nothing waits for the provider yet, TERM and HUP end us in order, as Ctrl-C does."""

    def end(signum: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + signum)

    signums = [
        signum
        for signum in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(signum) is signal.SIG_DFL
    ]
    previous = {signum: signal.signal(signum, end) for signum in signums}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _wire(process: ProcessId | None) -> dict[str, Any] | None:
    """The control socket's form of a process."""
    return asdict(process) if process else None
