"""The sessions of this machine, from their first word to their last process.

A session begins with a launcher's `session.open` and ends with the first sign of its end: the
launcher's word, or the death of launcher, provider or helper, in whatever order. The end is the
same for all: what we started is terminated, the agent goes offline, the folder goes, the row is
closed; mail that is not in any context waits for a resume. A daemon that stops ends nothing; the
next one takes over what lives and finishes what died. Runs on the daemon's loop.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from relay_agentd.adapters.registry import Transport, find_transport
from relay_agentd.clock import now
from relay_agentd.errors import AgentdError, ControlRefused
from relay_agentd.paths import Paths, make_private
from relay_agentd.process import ProcessId, find_leftovers, send_signal, terminate, wait_gone
from relay_agentd.session import Machine, Session
from relay_agentd.session_folder import remove_session_folder
from relay_agentd.session_request import OpenRequest
from relay_agentd.session_state import LIVE, SessionEvent, SessionState
from relay_agentd.store.sessions import SessionKind, SessionRow

log = logging.getLogger(__name__)

# Both together stay below the five seconds in which a dead session has to be gone.
_GRACE_SECONDS: Final = 2.5
_LEFTOVER_GRACE_SECONDS: Final = 0.5
# A launcher that hangs up before it started anything has given up, unless it comes right back.
_HANG_UP_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0
# What may outlive a provider that was killed: our pipe and hook, and with the commands that run in
# them the shells of Claude Code's tool calls.
_PROGRAMS: Final = ("mcp_pipe.py", "relay_launchers/claude/hook.py", "/shell-snapshots/snapshot-")


class Supervisor:
    """See the module."""

    def __init__(
        self,
        machine: Machine,
        paths: Paths,
        *,
        transports: Callable[[str], Transport] = find_transport,
        commanded: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self._machine = machine
        self._paths = paths
        self._transports = transports
        self._commanded = commanded
        self._sessions: dict[str, Session] = {}
        self._watches: dict[str, dict[str, asyncio.Task[None]]] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the daemon's own life ---

    async def start(self) -> None:
        """Take over what lives, finish what died while nobody looked, remove what is nobody's."""
        make_private(self._paths.sessions)
        for row in self._machine.store.sessions.live():
            self._take_over(row)
        known = self._sessions.keys()
        for folder in list(self._paths.sessions.iterdir()):
            if folder.name not in known:
                await self._remove_remains(folder.name, folder)

    async def stop(self) -> None:
        """Let go of all sessions without ending them."""
        tasks = [task for watches in self._watches.values() for task in watches.values()]
        for task in (*tasks, *self._tasks, *self._endings.values()):
            task.cancel()
        await asyncio.gather(*tasks, *self._tasks, *self._endings.values(), return_exceptions=True)
        for session in self._sessions.values():
            await session.close()

    # --- a session's life, as its launcher tells it ---

    def open(self, request: OpenRequest) -> Path:
        """A session begins; its folder. Raises: ControlRefused."""
        if self._machine.store.sessions.find(request.key) is not None:
            raise ControlRefused("session_exists", f"there is a session {request.key} already")
        transport = self._transports(request.provider)
        row = request.row(now())
        self._machine.store.sessions.add(row)
        session = self._keep(row, transport)
        try:
            make_private(session.folder)
        except AgentdError:
            self.end(request.key, "its folder cannot be made")
            raise
        self._watch(session, "launcher", row.launcher)
        log.info("session %s opened: %s in %s", row.key, row.provider, row.cwd)
        return session.folder

    def attach(self, request: OpenRequest, told: Mapping[str, Any]) -> Path:
        """A launcher found a new daemon, and says all it ever said. Raises: ControlRefused."""
        row = self._machine.store.sessions.find(request.key)
        if row is None:
            self.open(request)
        session = self._running(request.key)
        if "sessionId" in told or "approvalOverrides" in told:
            self.plan(request.key, told)
        if isinstance(told.get("helper"), dict):
            self.helper(request.key, told["helper"])
        if told.get("providerProcess") is not None:
            self.provider(request.key, {"process": told["providerProcess"]})
        return session.folder

    def join(self, request: OpenRequest, process: Mapping[str, Any]) -> Path:
        """A session that a person started himself puts itself on the relay; its folder. Harmless
        when it has joined already. `process`: the provider's. Raises: ControlRefused."""
        identity = _process(process)
        known = self._sessions.get(request.key)
        if known is None:
            folder = self.open(request)
            session = self._running(request.key)
            session.write_mode()
            session.advance(SessionEvent.STARTED, provider_process=identity)
            self._watch(session, "provider", identity)
            session.start_adapter()
            return folder
        return known.folder

    def plan(self, key: str, told: Mapping[str, Any]) -> None:
        """What the plan decided. Raises: ControlRefused."""
        session = self._running(key)
        overrides = told.get("approvalOverrides") or []
        session.change(approval_overrides=tuple(map(str, overrides)))
        session.start_adapter()

    def helper(self, key: str, told: Mapping[str, Any]) -> None:
        """The helper listens. Raises: ControlRefused."""
        session = self._running(key)
        process = _process(told.get("process"))
        session.change(helper=process, helper_socket=Path(str(told.get("socket"))))
        self._watch(session, "helper", process)
        session.start_adapter()

    def provider(self, key: str, told: Mapping[str, Any]) -> None:
        """The provider has the terminal. Raises: ControlRefused."""
        session = self._running(key)
        process = _process(told.get("process"))
        session.advance(SessionEvent.STARTED, provider_process=process)
        self._watch(session, "provider", process)
        session.start_adapter()
        session.provider_started()

    async def closed(self, key: str, exit_status: Any) -> None:
        """The launcher saw the provider end; returns when all is cleaned up."""
        status = exit_status if type(exit_status) is int else None
        ending = self.end(key, "its launcher closed it", exit_status=status)
        if ending is not None:
            await asyncio.shield(ending)

    def hung_up(self, key: str) -> None:
        """The launcher's connection ended: its own end is watched, but it may have given up
        before it started anything."""
        session = self._sessions.get(key)
        if session is not None and session.row.state is SessionState.STARTING:
            self._background(self._end_unless_continued(key))

    # --- what others ask ---

    def find(self, key: str) -> Session:
        """A live session by its key. Raises: ControlRefused."""
        try:
            return self._sessions[key]
        except KeyError:
            raise ControlRefused("unknown_session", f"there is no session {key}") from None

    def sessions(self) -> list[Session]:
        """All live ones, oldest first."""
        return list(self._sessions.values())

    async def stop_session(self, target: str, *, force: bool) -> None:
        """Ask a session's provider to end, or kill it; returns when the session has ended.

        Raises: ControlRefused.
        """
        session = self._target(target)
        if session.row.kind is SessionKind.JOINED:
            detail = f"{target} was not started by the relay: end it where it runs"
            raise ControlRefused("not_ours", detail)
        process = session.row.provider_process
        if process is not None:
            send_signal(process, signal.SIGKILL if force else signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(wait_gone(process), _STOP_SECONDS)
        ending = self.end(session.key, "somebody stopped it")
        if ending is not None:
            await asyncio.shield(ending)

    # --- what the relay says (`LinkListener`) ---

    def mail(self, agent_id: str, message: Mapping[str, Any]) -> None:
        """A message for one of our agents."""
        mail = self._machine.store.mail
        session = self._session_of(agent_id)
        if mail.receive(agent_id, message, session.key if session else None, now()):
            if session is not None:
                session.mail_arrived()
        else:
            mail.report_again(agent_id, int(message["id"]))
            self._machine.link.receipts_changed()

    def agent_changed(self, agent_id: str, agent: Mapping[str, Any]) -> None:
        """Somebody changed one of our agents."""
        session = self._session_of(agent_id)
        if session is not None:
            session.agent_changed(agent)

    def approval_decided(self, approval: Mapping[str, Any]) -> None:
        """A question was answered at the relay."""
        self._machine.desk.decided(approval)

    def commanded(self, command: Mapping[str, Any]) -> None:
        """The relay asks something of this machine."""
        self._commanded(command)

    def superseded(self, agent_id: str) -> None:
        """The conversation goes on elsewhere; here it stays without the relay."""
        log.warning("agent %s goes on elsewhere", agent_id)

    # --- the end ---

    def end(
        self, key: str, reason: str, *, exit_status: int | None = None
    ) -> "asyncio.Task[None] | None":
        """Begin a session's end, once; the task that does it, None when it is over."""
        if key in self._endings:
            return self._endings[key]
        session = self._sessions.get(key)
        if session is None:
            return None
        log.info("session %s ends: %s", key, reason)
        session.advance(SessionEvent.ENDING, exit_status=exit_status)
        task = asyncio.create_task(self._end(session), name=f"end of session {key}")
        self._endings[key] = task
        task.add_done_callback(self._ended)
        return task

    async def _end(self, session: Session) -> None:
        key = session.key
        leaving = asyncio.create_task(session.go_offline())
        try:
            for watch in self._watches.pop(key, {}).values():
                watch.cancel()
            await terminate(session.row.processes, grace=_GRACE_SECONDS)
            await session.close()
            await self._remove_remains(key, session.folder)
            await leaving
            session.advance(SessionEvent.ENDED, ended_at=now())
        finally:
            leaving.cancel()
            self._sessions.pop(key, None)

    async def _remove_remains(self, key: str, folder: Path) -> None:
        """The programs that still run for a session, and its folder."""
        programs = (*_PROGRAMS, str(folder))
        leftovers = await asyncio.to_thread(find_leftovers, key, programs)
        await terminate(leftovers, grace=_LEFTOVER_GRACE_SECONDS)
        await asyncio.to_thread(remove_session_folder, folder)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._endings = {key: other for key, other in self._endings.items() if other is not task}
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())

    async def _end_unless_continued(self, key: str) -> None:
        await asyncio.sleep(_HANG_UP_SECONDS)
        session = self._sessions.get(key)
        if session is not None and session.row.state is SessionState.STARTING:
            self.end(key, "its launcher hung up")

    # --- inside ---

    def _take_over(self, row: SessionRow) -> None:
        try:
            transport = self._transports(row.provider)
        except ControlRefused as refusal:
            log.warning("session %s cannot be served any more: %s", row.key, refusal)
            return
        session = self._keep(row, transport)
        session.rejoin()
        reason = _death(row)
        if reason is not None:
            self.end(row.key, reason)
            return
        log.info("session %s is taken over", row.key)
        make_private(session.folder)
        self._watch(session, "launcher", row.launcher)
        self._watch(session, "helper", row.helper)
        self._watch(session, "provider", row.provider_process)
        session.start_adapter()

    def _keep(self, row: SessionRow, transport: Transport) -> Session:
        folder = self._paths.session_folder(row.key)
        session = Session(row, folder, self._machine, transport)
        self._sessions[row.key] = session
        return session

    def _watch(self, session: Session, role: str, process: ProcessId | None) -> None:
        """End the session when this process ends."""
        watches = self._watches.setdefault(session.key, {})
        if process is None or role in watches:
            return

        async def watch() -> None:
            await wait_gone(process)
            self.end(session.key, f"its {role} (pid {process.pid}) is gone")

        watches[role] = asyncio.create_task(watch(), name=f"{role} of session {session.key}")

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _running(self, key: str) -> Session:
        """A session that is not on its way out. Raises: ControlRefused."""
        session = self.find(key)
        if session.row.state not in LIVE - {SessionState.STOPPING}:
            raise ControlRefused("session_ended", f"session {key} is {session.row.state}")
        return session

    def _session_of(self, agent_id: str) -> Session | None:
        """The newest session that goes by this id and is not on its way out."""
        for session in reversed(self._sessions.values()):
            if session.row.agent_id == agent_id and session.key not in self._endings:
                return session
        return None

    def _target(self, target: str) -> Session:
        """A session as a person names it: key, agent id or label. Raises: ControlRefused."""
        found = [
            session
            for session in self._sessions.values()
            if target in (session.key, session.row.agent_id)
            or target.casefold() == (session.row.label or "").casefold() != ""
        ]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(session.row.agent_id or session.key for session in found)
            raise ControlRefused("ambiguous", f"several sessions are called {target!r}: {ids}")
        raise ControlRefused("unknown_session", f"no session here is called {target!r}")


def _death(row: SessionRow) -> str | None:
    """Why a session that was left alone cannot go on; None when it can."""
    if row.state is SessionState.STOPPING:
        return "its end was under way"
    roles = {
        "launcher": row.launcher,
        "helper": row.helper,
        "provider": row.provider_process,
    }
    for role, process in roles.items():
        if process is not None and not process.is_alive():
            return f"its {role} (pid {process.pid}) died while no daemon ran"
    return None


def _process(value: Any) -> ProcessId:
    try:
        return ProcessId.parse(value)
    except ValueError as error:
        raise ControlRefused("invalid_request", str(error)) from error
