"""The sessions of this machine, from their first word to their last process.

A session begins with a launcher's `session.open` and ends with the first sign of its end: the
launcher's word, or the death of launcher, provider or helper, in whatever order. One in the
background begins with `session.start` and ends when somebody stops it; what is in between is
`background`'s. The end is the same for all: what we started is terminated, the agent goes offline,
the folder goes, the row is closed; mail that is not in any context waits for a resume. A daemon
that stops ends nothing; the next one takes over what lives and finishes what died. Runs on the
daemon's loop.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from relay_agentd.adapters.registry import Transport, find_transport
from relay_agentd.background import PATIENCE, Hosts, Patience
from relay_agentd.clock import now
from relay_agentd.errors import AgentdError, ControlRefused
from relay_agentd.paths import Paths, make_private
from relay_agentd.process import send_signal, terminate, wait_gone
from relay_agentd.remains import cause_of_death, remove_remains
from relay_agentd.session import Machine, Session
from relay_agentd.session_environment import kept
from relay_agentd.session_names import one_called
from relay_agentd.session_request import OpenRequest, process_of
from relay_agentd.session_state import LIVE, SessionEvent, SessionState, advance
from relay_agentd.store.sessions import SessionKind, SessionRow
from relay_agentd.watches import Watches
from relay_launchers.base import Provider
from relay_launchers.environment import without_session
from relay_launchers.registry import find_provider

log = logging.getLogger(__name__)

# Both together stay below the five seconds in which a dead session has to be gone.
_GRACE_SECONDS: Final = 2.5
# A launcher that hangs up before it started anything has given up, unless it comes right back.
_HANG_UP_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0
# A conversation is known as soon as its host has been asked for it.
_KNOWN_SECONDS: Final = 15.0


class Supervisor:
    """See the module."""

    def __init__(
        self,
        machine: Machine,
        paths: Paths,
        *,
        transports: Callable[[str], Transport] = find_transport,
        providers: Callable[[str], Provider] = find_provider,
        patience: Patience = PATIENCE,
    ) -> None:
        self._machine = machine
        self._paths = paths
        self._transports = transports
        self._hosts = Hosts(
            paths,
            end=self.end,
            gave_up=lambda key: self._sessions.pop(key, None),
            providers=providers,
            patience=patience,
        )
        self.on_command: Callable[[Mapping[str, Any]], None] = lambda _: None
        """Told what the relay asks of this machine."""
        self._sessions: dict[str, Session] = {}
        self._watches = Watches(self.end)
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
                await remove_remains(folder.name, folder)

    async def stop(self) -> None:
        """Let go of all sessions without ending them."""
        await self._watches.stop()
        tasks = [*self._tasks, *self._endings.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._hosts.stop()
        for session in self._sessions.values():
            await session.close()

    # --- a session's life, as its launcher tells it ---

    def open(self, request: OpenRequest) -> Path:
        """A session begins; its folder. Raises: ControlRefused."""
        return self._open(request).folder

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
        identity = process_of(process)
        if known := self._sessions.get(request.key):
            return known.folder
        running = advance(SessionState.STARTING, SessionEvent.STARTED)
        session = self._open(request, state=running, provider_process=identity)
        session.start_adapter()
        return session.folder

    def begin_background(self, request: OpenRequest, environment: Mapping[str, str]) -> None:
        """A background session begins; said again with the same key it is the same session.

        Raises: ControlRefused.
        """
        if self._machine.store.sessions.find(request.key) is None:
            given = without_session(environment)
            session = self._add(request, environment=kept(given))
            self._hosts.begin(session, given)

    async def background_started(self, key: str) -> Session:
        """Wait until it runs and, if that does not take too long, is on the relay.

        Raises: ControlRefused, HostFailed.
        """
        row = self._machine.store.sessions.find(key)
        if row is None or row.kind is not SessionKind.BACKGROUND or key not in self._sessions:
            problem = row.problem if row is not None else None
            raise ControlRefused("session_ended", problem or f"session {key} has ended")
        session = self.find(key)
        await self._hosts.started(key)
        with suppress(TimeoutError):
            await asyncio.wait_for(session.registered(), _KNOWN_SECONDS)
        return session

    def plan(self, key: str, told: Mapping[str, Any]) -> None:
        """What the plan decided. Raises: ControlRefused."""
        session = self._running(key)
        overrides = told.get("approvalOverrides") or []
        session.change(approval_overrides=tuple(map(str, overrides)))
        session.start_adapter()

    def helper(self, key: str, told: Mapping[str, Any]) -> None:
        """The helper listens. Raises: ControlRefused."""
        session = self._running(key)
        process = process_of(told.get("process"))
        session.change(helper=process, helper_socket=Path(str(told.get("socket"))))
        self._watches.watch(session.row)
        session.start_adapter()

    def provider(self, key: str, told: Mapping[str, Any]) -> None:
        """The provider has the terminal. Raises: ControlRefused."""
        session = self._running(key)
        process = process_of(told.get("process"))
        session.advance(SessionEvent.STARTED, provider_process=process)
        self._watches.watch(session.row)
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

    def find_called(self, target: str) -> Session:
        """The live session of that name. Raises: ControlRefused."""
        return self.find(one_called([each.row for each in self.sessions()], target).key)

    def sessions(self) -> list[Session]:
        """All live ones, oldest first."""
        return list(self._sessions.values())

    def given_up(self) -> list[SessionRow]:
        """Background sessions that could not be kept running, oldest first."""
        return self._machine.store.sessions.fatal()

    def find_row(self, target: str) -> SessionRow:
        """A session by key, agent id or label: the live one, else the latest. Raises:
        ControlRefused."""
        found = self._machine.store.sessions.named(target)
        live = [row for row in found if row.key in self._sessions]
        if not found:
            raise ControlRefused("unknown_session", f"no session here was ever called {target!r}")
        return live[0] if live else found[0]

    async def stop_session(self, target: str, *, force: bool) -> None:
        """Ask a session's provider to end, or kill it; returns when the session has ended. One that
        was given up is shown no more.

        Raises: ControlRefused.
        """
        row = one_called([*self.given_up(), *(each.row for each in self.sessions())], target)
        if row.state is SessionState.FATAL:
            self._machine.store.sessions.change(row, ended_at=now())
            return
        session = self.find(row.key)
        process = session.row.provider_process
        if session.row.kind is SessionKind.JOINED:
            raise ControlRefused("not_ours", f"{target} was started by hand: end it where it runs")
        if session.row.kind is SessionKind.BACKGROUND:
            # Written first: a host that ends by itself is started again.
            self.end(session.key, "somebody stopped it")
            if process is not None and force:
                send_signal(process, signal.SIGKILL)
        elif process is not None:
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
        if not mail.receive(agent_id, message, session.key if session else None, now()):
            mail.report_again(agent_id, int(message["id"]))
            self._machine.link.receipts_changed()
        if session is not None:
            session.mail_arrived()  # here already: taken for expired by a clock that was wrong?

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
        self.on_command(command)

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
            self._watches.drop(key)
            await self._hosts.drop(key)
            await terminate(session.row.processes, grace=_GRACE_SECONDS)
            await session.close()
            await remove_remains(key, session.folder)
            await leaving
            session.advance(SessionEvent.ENDED, ended_at=now())
        finally:
            leaving.cancel()
            self._sessions.pop(key, None)

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

    def _open(self, request: OpenRequest, **known: Any) -> Session:
        """A session whose processes others start. Raises: ControlRefused, FolderUnsafe."""
        if self._machine.store.sessions.find(request.key) is not None:
            raise ControlRefused("session_exists", f"there is a session {request.key} already")
        session = self._add(request, **known)
        try:
            session.prepare_folder()
        except AgentdError:
            self.end(request.key, "its folder cannot be made")
            raise
        self._watches.watch(session.row)
        log.info("session %s opened: %s in %s", request.key, request.provider, request.cwd)
        return session

    def _add(self, request: OpenRequest, **known: Any) -> Session:
        """Raises: ControlRefused."""
        transport = self._transports(request.provider)
        row = request.row(now(), **known)
        self._machine.store.sessions.add(row)
        return self._keep(row, transport)

    def _take_over(self, row: SessionRow) -> None:
        try:
            transport = self._transports(row.provider)
        except ControlRefused as refusal:
            log.warning("session %s cannot be served any more: %s", row.key, refusal)
            return
        session = self._keep(row, transport)
        session.rejoin()
        reason = cause_of_death(row)
        if row.kind is SessionKind.BACKGROUND and row.state is not SessionState.STOPPING:
            self._hosts.take_over(session)
            return
        if reason is not None:
            self.end(row.key, reason)
            return
        log.info("session %s is taken over", row.key)
        try:
            session.prepare_folder()
        except AgentdError as error:
            # Its processes live: it goes on with what needs no folder, and so do the others.
            log.warning("session %s has no folder: %s", row.key, error)
        self._watches.watch(session.row)
        session.start_adapter()

    def _keep(self, row: SessionRow, transport: Transport) -> Session:
        folder = self._paths.session_folder(row.key)
        session = Session(row, folder, self._machine, transport)
        self._sessions[row.key] = session
        return session

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
