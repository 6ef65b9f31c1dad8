"""One live session: its row, its adapter, its courier, and what the relay is told of it.

Implements `SessionPort`, the adapter's view of us. Owns this session's row (through the store) and
its two tasks; the supervisor decides when it begins and ends. Runs on the daemon's loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay_agentd import __version__, identity
from relay_agentd.adapters.base import Adapter, Answer, Ask
from relay_agentd.adapters.registry import Connection, Transport
from relay_agentd.approval_desk import ApprovalDesk
from relay_agentd.courier import Courier, FirstPrompt
from relay_agentd.paths import make_private
from relay_agentd.relay_link import RelayLink
from relay_agentd.session_state import SessionEvent, SessionState, advance
from relay_agentd.store import Store
from relay_agentd.store.sessions import SessionKind, SessionRow
from relay_launchers.frame import introduction
from relay_server.wire import AgentStatus, ApprovalMode, Decision, Reachability

log = logging.getLogger(__name__)

# The gate hook of a session reads it; see relay_launchers/claude/hook.py.
MODE_FILE: Final = "mode"
_STRICTNESS: Final = (ApprovalMode.OPEN, ApprovalMode.GUARDED, ApprovalMode.READ_ONLY)
_OFFLINE_SECONDS: Final = 4.0
_READ_ONLY: Final = "Agent Relay: this session is read-only"
# Long enough that a mistake that repeats costs nothing but this session's mail.
_RECOVERY_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Machine:
    """What all sessions here have in common."""

    id: str
    url: str
    store: Store
    link: RelayLink
    desk: ApprovalDesk


class Session:
    """See the module."""

    def __init__(
        self, row: SessionRow, folder: Path, machine: Machine, transport: Transport
    ) -> None:
        self.row = row
        # Names this run for ever; the relay knows it as the instance.
        self.key = row.key
        self.cwd = row.cwd
        self.folder = folder
        self.agent_status = AgentStatus.IDLE
        self._machine = machine
        self._transport = transport
        self._meta: dict[str, Any] = {}
        self._reachability = Reachability.NONE
        self._is_joined = False
        self.known = asyncio.Event()
        """Set while the conversation, and with it the agent's id, is known."""
        self.adapter: Adapter | None = None
        self.courier: Courier | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def machine(self) -> Machine:
        """Where it runs."""
        return self._machine

    @property
    def reachability(self) -> Reachability:
        """How messages get in at present."""
        return self._reachability

    @property
    def fetches_mail(self) -> bool:
        """Does it see its mail only when it asks?"""
        return not self._transport.pushes

    # --- for the supervisor ---

    def change(self, **changes: Any) -> None:
        """Write something about this session down."""
        self.row = self._machine.store.sessions.change(self.row, **changes)

    def advance(self, event: SessionEvent, **changes: Any) -> SessionState:
        """The one way a session's state changes. Raises: WrongTransition."""
        self.change(state=advance(self.row.state, event), **changes)
        log.info("session %s is %s", self.key, self.row.state)
        return self.row.state

    def start_adapter(self) -> None:
        """Connect to the provider as soon as there is something to connect to."""
        if self.adapter is not None:
            return
        is_background = self.row.kind is SessionKind.BACKGROUND
        is_joined = self.row.kind is SessionKind.JOINED
        needs_helper = (self._transport.needs_helper or is_background) and not is_joined
        if needs_helper and self.row.helper_socket is None:
            return
        self.adapter = self._transport.build(
            self,
            Connection(
                self.row.helper_socket,
                is_background=is_background,
                is_joined=is_joined,
                conversation=self.row.provider_session_id,
            ),
        )
        self._start(self._keep_running(self.adapter.run), "adapter")
        if self._transport.pushes:
            self.courier = Courier(
                self.key,
                self.adapter,
                self._machine.store.mail,
                agent_id=lambda: self.row.agent_id,
                receipts_changed=self._machine.link.receipts_changed,
                relay_time=self._machine.link.relay_time,
                first=FirstPrompt(lambda: self.row.prompt, proved=lambda: self.change(prompt=None)),
            )
            self._start(self._keep_running(self.courier.run), "courier")

    def rejoin(self) -> None:
        """After a restart of the daemon: the relay knows the agent, the link has to learn of it,
        be it only to report its end."""
        if self.row.agent_id is not None:
            self._join(is_known=True)

    def provider_started(self) -> None:
        """The provider process is known."""
        if self.row.agent_id is not None and self.row.provider_process is not None:
            self._machine.link.describe(
                self.row.agent_id, instance=self.key, pid=self.row.provider_process.pid
            )

    async def go_offline(self) -> None:
        """Tell the relay that the agent is gone."""
        self._machine.desk.settle_all(instance=self.key)
        self._is_joined = False
        self.known.clear()
        if self.row.agent_id is not None:
            await self._machine.link.leave(
                self.row.agent_id, instance=self.key, within=_OFFLINE_SECONDS
            )

    async def close(self) -> None:
        """End adapter and courier; nothing is reported any more, and the questions stay open: a
        new daemon is asked again."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.adapter = self.courier = None

    async def registered(self) -> None:
        """Return when the agent is known, also to the relay if that can be reached."""
        link = self._machine.link
        await self.known.wait()
        while link.problem is None and not link.serves(self.row.agent_id or ""):
            await asyncio.sleep(_POLL_SECONDS)

    async def suspend(self) -> None:
        """Its host is gone: nobody reaches it until it is started again."""
        await self.close()
        self.agent_status = AgentStatus.IDLE
        await self.go_offline()

    # --- from the relay ---

    def mail_arrived(self) -> None:
        """There is something in the inbox."""
        if self.courier is not None:
            self.courier.wake()

    def agent_changed(self, agent: Mapping[str, Any]) -> None:
        """Somebody changed the agent at the relay: a person's word, or our own come back."""
        mode = agent.get("approvalMode")
        if mode in list(ApprovalMode) and mode != self.row.relay_approval:
            before = self.approval
            self.change(relay_approval=ApprovalMode(mode))
            self._write_mode()
            if self.approval is not before:
                self._approval_changed()
        self.change(
            label=agent.get("label"),
            tags=tuple(agent.get("tags") or ()),
            channels=tuple(agent.get("channels") or ()),
            capabilities=tuple(agent.get("capabilities") or ()),
        )

    # --- SessionPort: what the adapter says ---

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        """The conversation is known, or another one took its place."""
        if self.row.state is SessionState.STOPPING:
            # It has said goodbye already; a hook's word that was under way must not undo that.
            return
        self._meta = dict(meta or {})
        if provider_session_id == self.row.provider_session_id and self.row.agent_id:
            if not self._is_joined:
                # It was started again, and goes on.
                self._join(is_known=False)
            return
        agent_id = identity.agent_id(
            host=self._machine.id,
            rig=self.row.rig,
            project=identity.project_name(cwd),
            provider_session_id=provider_session_id,
        )
        previous = self.row.agent_id
        self.change(provider_session_id=provider_session_id, agent_id=agent_id, cwd=cwd)
        self._machine.store.mail.adopt(agent_id, self.key)
        self._join(is_known=False)
        if previous is not None and previous != agent_id:
            log.info("session %s goes on as %s", self.key, agent_id)
            leaving = self._machine.link.leave(previous, instance=self.key, within=_OFFLINE_SECONDS)
            self._start(leaving, "farewell")
        if self.courier is not None:
            self.courier.resume()

    def introduction(self) -> str:
        """What the session is told once at its start; empty until it is known."""
        if self.row.agent_id is None:
            return ""
        return introduction(
            self.row.agent_id,
            self._machine.url,
            server_version=self._machine.link.server_version or __version__,
            client_version=__version__,
            approval=self.approval.value,
        )

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        """Busy, idle or waiting."""
        self.agent_status = status
        if self.row.agent_id is not None:
            self._machine.link.set_status(self.row.agent_id, status, detail, instance=self.key)
        self._mark_read()

    def reachable(self, reachability: Reachability) -> None:
        """How messages get in at present."""
        if reachability is self._reachability:
            return
        self._reachability = reachability
        if self.row.agent_id is not None:
            self._machine.link.describe(
                self.row.agent_id, instance=self.key, reachability=reachability.value
            )

    def proved(self, delivery_id: str, *, via: str) -> None:
        """The delivery was seen in the session's context."""
        if self.courier is not None:
            self.courier.proved(delivery_id, via)
            # The turn may have been over before its proof was seen.
            self._mark_read()

    def lost(self, delivery_id: str) -> None:
        """The delivery did not arrive."""
        if self.courier is not None:
            self.courier.lost(delivery_id)

    def ready(self) -> None:
        """Pushing is worth another try."""
        if self.courier is not None:
            self.courier.ready()

    def asked(self, ask: Ask) -> None:
        """A step waits for a person."""
        if self.row.agent_id is None or self.approval is ApprovalMode.READ_ONLY:
            self._answer(ask.id, Answer(decision=Decision.DENY, reason=_READ_ONLY))
            return
        self._machine.desk.ask(
            ask,
            agent_id=self.row.agent_id,
            instance=self.key,
            is_attended=self.row.kind is not SessionKind.BACKGROUND,
            on_answer=self._answer,
        )

    def settled(self, ask_id: str) -> None:
        """That answer is not needed any more."""
        self._machine.desk.settle(ask_id, instance=self.key)

    def troubled(self, problem: str | None) -> None:
        """Why the session cannot work at present."""
        if problem != self.row.problem:
            log.warning("session %s: %s", self.key, problem or "it works again")
            self.change(problem=problem)

    def records(self, transcript: Path) -> None:
        """Where the conversation is recorded."""
        if transcript != self.row.transcript:
            self.change(transcript=transcript)

    # --- inside ---

    def _join(self, *, is_known: bool) -> None:
        self._is_joined = True
        self.known.set()
        self._machine.link.join(self._description(), instance=self.key, is_known=is_known)

    def _answer(self, ask_id: str, answer: Answer) -> None:
        if self.adapter is not None:
            self.adapter.answer(ask_id, answer)

    def _approval_changed(self) -> None:
        """Tightened at the relay: from now on, and for what waits already."""
        if self.adapter is not None:
            self.adapter.approval_changed(self.approval)
        if self.approval is ApprovalMode.READ_ONLY:
            for ask_id in self._machine.desk.open_asks(instance=self.key):
                self._answer(ask_id, Answer(decision=Decision.DENY, reason=_READ_ONLY))
                self.settled(ask_id)

    def _mark_read(self) -> None:
        """A session that rests has read what is in its context."""
        if self.agent_status is AgentStatus.IDLE and self._machine.store.mail.mark_read(self.key):
            self._machine.link.receipts_changed()

    @property
    def approval(self) -> ApprovalMode:
        """The mode in force: the stricter of the launch's and the relay's."""
        return max(
            self.row.approval, self.row.relay_approval or self.row.approval, key=_STRICTNESS.index
        )

    def prepare_folder(self) -> None:
        """Its private folder, and in it the mode in force: a daemon that died as the mode was
        tightened may have written it down and not told the gate. Raises: FolderUnsafe."""
        make_private(self.folder)
        self._write_mode()

    def _write_mode(self) -> None:
        """For the gate hook. Written aside and renamed: the hook never reads half a word."""
        target = self.folder / MODE_FILE
        draft = target.with_suffix(".new")
        try:
            draft.write_text(self.approval.value, encoding="utf-8")
            draft.replace(target)
        except OSError as error:
            log.warning("session %s: its approval mode cannot be written: %s", self.key, error)

    def _description(self) -> dict[str, Any]:
        row = self.row
        description: dict[str, Any] = {
            "id": row.agent_id,
            "machine": self._machine.id,
            "provider": row.provider,
            "rig": row.rig,
            "project": identity.project_name(row.cwd),
            "sessionId": row.provider_session_id,
            "cwd": str(row.cwd),
            "pid": row.provider_process.pid if row.provider_process else None,
            "tags": list(row.tags),
            "capabilities": list(row.capabilities),
            "channels": list(row.channels),
            "status": self.agent_status.value,
            "approvalMode": self.approval.value,
            "reachability": self._reachability.value,
            "instanceId": row.key,
            "version": __version__,
            "meta": {
                **self._meta,
                "providerVersion": row.provider_version,
                "approvalOverrides": list(row.approval_overrides),
            },
        }
        if row.label is not None:
            description["label"] = row.label
        return description

    async def _keep_running(self, work: Callable[[], Awaitable[None]]) -> None:
        """A mistake in one session's transport must cost neither the session nor the daemon."""
        while True:
            try:
                await work()
                return
            except Exception:
                log.exception("session %s: %s failed", self.key, asyncio.current_task())
            await asyncio.sleep(_RECOVERY_SECONDS)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{name} of session {self.key}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())
