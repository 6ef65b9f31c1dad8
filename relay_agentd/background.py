"""Background sessions: starts their hosts, watches them, and starts them again.

A *host* is the one process a session without a terminal consists of. It is detached: it outlives
the daemon, and the next one takes it over. One task a session, which is its life:

    plan and spawn ──▶ serve until it dies ──▶ offline, cleaned up ──▶ pause ──▶ plan and spawn ...

Each step is written down before it is taken; a host that was spawned and not written down is
found by the session's mark and ended before another is started. A host that dies often and
quickly is given up. `stop` and the end of everything are the supervisor's. Runs on the daemon's
loop.
"""

import asyncio
import logging
import os
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import relay_agentd
from relay_agentd.clock import monotonic, now
from relay_agentd.errors import AgentdError
from relay_agentd.paths import Paths
from relay_agentd.process import ProcessId, environment_of, terminate, wait_gone
from relay_agentd.remains import remove_remains
from relay_agentd.session import Session
from relay_agentd.session_environment import marked_environment
from relay_agentd.session_folder import last_words, size_of, write_private
from relay_agentd.session_state import SessionEvent, SessionState
from relay_agentd.spawn import Child, spawn_detached
from relay_launchers.base import (
    ArgumentsRefused,
    BackgroundPlan,
    BackgroundProvider,
    Binary,
    LaunchRequest,
    Provider,
    ProviderNotFound,
)
from relay_launchers.environment import without_session
from relay_launchers.registry import UnknownProvider, find_provider

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 2.5
_POLL_SECONDS: Final = 0.02
_LOG_NAME: Final = "host.log"


class HostFailed(AgentdError):
    """The session could not be started; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a host that dies is dealt with."""

    first_pause: float = 1.0
    longest_pause: float = 60.0
    quick_deaths: int = 8
    """So many in a row, none after a good run, and it is given up."""
    good_run: float = 30.0
    ready: float = 30.0
    """Within so many seconds a host has to listen."""


PATIENCE: Final = Patience()


@dataclass(slots=True)
class _Life:
    """What is only in memory of one background session."""

    task: "asyncio.Task[None] | None"
    started: "asyncio.Future[str | None]"
    """Done when it runs for the first time, None, or cannot, why."""
    environment: dict[str, str]


class Hosts:
    """See the module."""

    def __init__(
        self,
        paths: Paths,
        *,
        end: Callable[[str, str], object],
        gave_up: Callable[[str], object],
        providers: Callable[[str], Provider] = find_provider,
        patience: Patience = PATIENCE,
    ) -> None:
        """`end` ends a session that never began; `gave_up` is told of one that is FATAL."""
        self._paths = paths
        self._end = end
        self._gave_up = gave_up
        self._providers = providers
        self._patience = patience
        self._lives: dict[str, _Life] = {}

    # --- for the supervisor ---

    def begin(self, session: Session, environment: dict[str, str]) -> None:
        """Start a new session."""
        self._live(session, environment, is_new=True)

    def take_over(self, session: Session) -> None:
        """Go on with a session of an earlier daemon."""
        process = session.row.provider_process
        given = without_session(environment_of(process)) if process is not None else {}
        given = given or without_session({**os.environ, **session.row.environment})
        self._live(session, given, is_new=False)

    async def started(self, key: str) -> None:
        """Wait until a session runs. Raises: HostFailed."""
        life = self._lives.get(key)
        problem = await asyncio.shield(life.started) if life is not None else None
        if problem is not None:
            raise HostFailed(problem)

    async def drop(self, key: str) -> None:
        """It is being stopped: start and watch it no more."""
        life = self._lives.pop(key, None)
        if life is None:
            return
        if not life.started.done():
            life.started.set_result("it was stopped")
        if life.task is not None:
            life.task.cancel()
            await asyncio.gather(life.task, return_exceptions=True)

    async def stop(self) -> None:
        """The daemon stops: the hosts live on."""
        for key in list(self._lives):
            await self.drop(key)

    # --- a session's life ---

    def _live(self, session: Session, environment: dict[str, str], *, is_new: bool) -> None:
        life = _Life(None, asyncio.get_running_loop().create_future(), environment)
        self._lives[session.key] = life
        life.task = asyncio.create_task(
            self._run(session, life, is_new=is_new), name=f"life of session {session.key}"
        )
        life.task.add_done_callback(_say_failure)

    async def _run(self, session: Session, life: _Life, *, is_new: bool) -> None:
        if not is_new:
            await self._catch_up(session)
        while True:
            problem = await self._serve(session, life)
            if not life.started.done():
                life.started.set_result(problem)
                if session.row.provider_session_id is None:
                    # It never was a conversation: its user is told, and starts it again.
                    session.change(problem=problem)
                    self._end(session.key, problem)
                    return
            await self._crashed(session, problem, counts=True)
            if session.row.restarts > self._patience.quick_deaths:
                self._give_up(session)
                return
            await self._pause(session)

    async def _catch_up(self, session: Session) -> None:
        """What the daemon before did not finish."""
        process = session.row.provider_process
        match session.row.state:
            case SessionState.BACKOFF:
                await self._clean_up(session)
                await self._pause(session)
            case SessionState.RUNNING if process is None or not process.is_alive():
                # Nobody knows when, so it does not count as a quick death: a reboot is none.
                await self._crashed(session, "its host died while no daemon ran", counts=False)
                await self._pause(session)
            case SessionState.STARTING:
                # It may have been spawned, and even written down, but nobody waited for it.
                await self._clean_up(session)
            case _:
                log.info("session %s is taken over", session.key)

    async def _serve(self, session: Session, life: _Life) -> str:
        """From a start to the host's death; why it is over."""
        try:
            if session.row.state is SessionState.RUNNING:
                process = session.row.provider_process
                session.prepare_folder()
            else:
                process = await self._start(session, life.environment)
        except AgentdError as failure:
            return str(failure)
        except Exception as error:
            # A provider's mistake, or an operating system that has nothing left to give.
            log.exception("session %s cannot be started", session.key)
            return f"its host cannot be started: {error}"
        assert process is not None
        session.start_adapter()
        session.provider_started()
        if not life.started.done():
            life.started.set_result(None)
        host_log = session.folder / _LOG_NAME
        said_before = size_of(host_log)
        await self._until_gone(session, process)
        said = last_words(host_log, since=said_before)
        return f"its host (pid {process.pid}) ended{said}"

    async def _until_gone(self, session: Session, process: ProcessId) -> None:
        gone = asyncio.ensure_future(wait_gone(process))
        try:
            await asyncio.wait([gone], timeout=self._patience.good_run)
            if not gone.done() and session.row.restarts:
                session.change(restarts=0)
            await gone
        finally:
            gone.cancel()

    async def _crashed(self, session: Session, problem: str, *, counts: bool) -> None:
        """It is down: written, then told, then cleaned up."""
        restarts = session.row.restarts + counts
        pause = self._pause_after(restarts) if counts else 0.0
        log.warning("session %s: %s; it is started again in %.1f s", session.key, problem, pause)
        session.advance(
            SessionEvent.CRASHED, restarts=restarts, retry_at=now() + pause, problem=problem
        )
        await self._clean_up(session)

    async def _clean_up(self, session: Session) -> None:
        leaving = asyncio.ensure_future(session.suspend())
        try:
            await terminate(session.row.processes, grace=_GRACE_SECONDS)
            await remove_remains(session.key, session.folder)
            await leaving
        finally:
            leaving.cancel()

    async def _pause(self, session: Session) -> None:
        """Until it is time to try again. The clock may have jumped: never longer than the longest
        pause."""
        due = (session.row.retry_at or 0.0) - now()
        await asyncio.sleep(min(max(due, 0.0), self._patience.longest_pause))
        session.advance(
            SessionEvent.RETRY, retry_at=None, provider_process=None, helper_socket=None
        )

    def _pause_after(self, restarts: int) -> float:
        longest = self._patience.first_pause * 2.0 ** min(restarts - 1, 32)
        return min(longest, self._patience.longest_pause) * random.uniform(0.5, 1.0)  # noqa: S311

    def _give_up(self, session: Session) -> None:
        log.error("session %s is given up: %s", session.key, session.row.problem)
        session.advance(SessionEvent.GAVE_UP, retry_at=None)
        self._lives.pop(session.key, None)
        self._gave_up(session.key)

    # --- a start ---

    async def _start(self, session: Session, environment: dict[str, str]) -> ProcessId:
        """Plan, spawn, write down, wait until it listens. Raises: AgentdError, OSError."""
        session.prepare_folder()
        provider, request = await self._request(session, environment)
        plan = self._plan(session, provider, request)
        for path, text in plan.files.items():
            write_private(path, text)
        host_log = session.folder / _LOG_NAME
        # From here to the row nothing waits: a daemon that dies in between leaves a host that
        # the session's mark finds.
        child = spawn_detached(
            plan.host.argv, marked_environment(plan.host, request), host_log, cwd=plan.host.cwd
        )
        process = ProcessId.of(child.pid)
        session.change(
            provider_process=process,
            helper_socket=plan.socket,
            provider_version=request.binary.version,
            approval_overrides=plan.approval_overrides,
        )
        await self._until_listening(plan.socket, child, host_log)
        if process is None:
            raise HostFailed(f"its host ended at once{last_words(host_log)}")
        session.advance(SessionEvent.STARTED, problem=None)
        return process

    async def _request(
        self, session: Session, environment: dict[str, str]
    ) -> tuple[BackgroundProvider, LaunchRequest]:
        """Raises: HostFailed."""
        row = session.row
        if not await asyncio.to_thread(row.cwd.is_dir):
            raise HostFailed(f"there is no folder {row.cwd}; make it again, or stop this session")
        try:
            provider = self._providers(row.provider)
            if not hasattr(provider, "plan_background"):
                raise HostFailed(f"{row.provider} cannot run without a terminal")
            # It asks the program for its version.
            binary: Binary = await asyncio.to_thread(provider.find, environment)
        except (UnknownProvider, ProviderNotFound) as error:
            raise HostFailed(str(error)) from error
        request = launch_request(session, self._paths, binary, environment)
        return cast("BackgroundProvider", provider), request

    def _plan(
        self, session: Session, provider: BackgroundProvider, request: LaunchRequest
    ) -> BackgroundPlan:
        try:
            return provider.plan_background(request, resume=session.row.provider_session_id)
        except ArgumentsRefused as refusal:
            raise HostFailed(str(refusal)) from refusal

    async def _until_listening(self, socket: Path, child: Child, host_log: Path) -> None:
        deadline = monotonic() + self._patience.ready
        while not socket.is_socket():
            ended = child.exit_code()
            if ended is not None or monotonic() >= deadline:
                what = "was not ready in time" if ended is None else f"ended (status {ended})"
                raise HostFailed(f"its host {what}{last_words(host_log)}")
            await asyncio.sleep(_POLL_SECONDS)


def launch_request(
    session: Session, paths: Paths, binary: Binary, environment: Mapping[str, str]
) -> LaunchRequest:
    """What a provider plans a background session from."""
    return LaunchRequest(
        session_key=session.key,
        folder=session.folder,
        cwd=session.row.cwd,
        # As tightened meanwhile: a start must not loosen it.
        approval=session.approval.value,
        arguments=session.row.arguments,
        binary=binary,
        control_socket=paths.control_socket,
        python=Path(sys.executable),
        pipe=Path(relay_agentd.__file__).with_name("mcp_pipe.py"),
        environment={**environment, "PWD": str(session.row.cwd)},
    )


def _say_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s failed", task.get_name(), exc_info=task.exception())
