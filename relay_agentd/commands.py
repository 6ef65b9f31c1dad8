"""What the relay asks of this machine: start a session, end one, show its record.

    HEARD ──accepted by the relay──▶ OURS ──carried out──▶ DONE | FAILED ──reported
       └──given to somebody else──▶ FOREIGN

Each arrow is written down before the next is begun, and each may be walked again: the relay gives
a command away once, and our acceptance carries a mark of ours, so that a daemon that died before
it heard the answer knows its own; a launch is a session with a key chosen beforehand, which
exists or does not; a stop of what has stopped is done. What the machine's owner did not allow is
refused here, whatever the relay thought. Runs on the daemon's loop.
"""

import asyncio
import logging
import os
import random
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from relay_agentd import relay_calls as calls
from relay_agentd.backoff import Backoff
from relay_agentd.clock import now
from relay_agentd.errors import AgentdError, ControlRefused, RelayRefused, RelayUnreachable
from relay_agentd.launch_rules import LaunchDefaults, launch_request
from relay_agentd.relay_calls import Call
from relay_agentd.relay_client import AsyncRelayClient
from relay_agentd.relay_stream import RECONNECT, hand_on_command
from relay_agentd.session_log import read_tail, render
from relay_agentd.session_state import LIVE
from relay_agentd.store import Store
from relay_agentd.store.commands import ENDED, CommandRow, CommandState
from relay_agentd.supervisor import Supervisor
from relay_launchers.base import Provider
from relay_launchers.registry import UnknownProvider, find_provider
from relay_server.wire import CommandKind, CommandStatus

log = logging.getLogger(__name__)

# Whoever asked has long gone on.
_STALE_SECONDS: Final = {"launch": 24 * 3600.0, "stop": 24 * 3600.0, "logs": 5.0}
_MOST_PENDING: Final = 500
_LONGEST_DETAIL: Final = 4000
# A request to the relay may have a megabyte.
_LONGEST_RESULT: Final = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    agent_id: str | None = None
    detail: str | None = None
    result: Any = None


class Commands:
    """See the module."""

    def __init__(
        self,
        machine_id: str,
        store: Store,
        client: AsyncRelayClient,
        supervisor: Supervisor,
        defaults: LaunchDefaults,
        *,
        providers: Callable[[str], Provider] = find_provider,
    ) -> None:
        self._machine_id = machine_id
        self._store = store
        self._client = client
        self._supervisor = supervisor
        self._defaults = defaults
        self._providers = providers
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._retry = asyncio.Event()

    # --- what the link says; all of it returns at once ---

    def commanded(self, command: Mapping[str, Any]) -> None:
        """The relay asks for something, perhaps again."""
        row = self._store.commands.hear(command, secrets.token_hex(8), now())
        if row.state in ENDED and row.is_reported:
            # It asks for what was done: the report got lost with the relay's memory of it.
            row = self._store.commands.change(row, is_reported=False)
        self._carry_on(row)

    def connected(self) -> None:
        """The relay is there (again): what was not finished goes on, what was missed is heard."""
        self._retry.set()
        for row in self._store.commands.unfinished():
            self._carry_on(row)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="look for commands")

    async def stop(self) -> None:
        """Let go where it stands; the next daemon goes on."""
        tasks = [*self._tasks.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- a command's way ---

    async def _look(self) -> None:
        call = calls.commands(
            self._machine_id, status=CommandStatus.PENDING.value, limit=_MOST_PENDING
        )
        with suppress(RelayUnreachable, RelayRefused):
            found = await self._client.request(call)
            for command in reversed(found.get("commands", [])):
                hand_on_command(command, self)

    def _carry_on(self, row: CommandRow) -> None:
        if row.id in self._tasks or row.state is CommandState.FOREIGN:
            return
        task = asyncio.create_task(self._carry(row), name=f"command {row.id}")
        self._tasks[row.id] = task
        task.add_done_callback(lambda done: self._finished(row.id, done))

    async def _carry(self, row: CommandRow) -> None:
        if row.state is CommandState.HEARD:
            is_ours = await self._accept(row)
            state = CommandState.OURS if is_ours else CommandState.FOREIGN
            row = self._store.commands.change(row, state=state)
            log.info("command %d (%s) is %s", row.id, row.kind, state)
        if row.state is CommandState.OURS:
            row = await self._carry_out(row)
        if row.state in ENDED:
            await self._report(row)
            self._store.commands.change(row, is_reported=True)

    async def _accept(self, row: CommandRow) -> bool:
        """Is it for us to do?"""
        mark = f"taken as {row.session_key}"
        fields = {"status": CommandStatus.ACCEPTED.value, "detail": mark}
        try:
            await self._ask(calls.report_command(row.id, fields))
        except RelayRefused as refusal:
            if refusal.status != 409:
                log.warning("command %d cannot be taken: %s", row.id, refusal)
                return False
            # Another daemon's, or our own word of before, whose answer was lost.
            current = await self._ask(calls.command(row.id))
            return (current.get("status"), current.get("detail")) == (
                CommandStatus.ACCEPTED.value,
                mark,
            )
        return True

    async def _carry_out(self, row: CommandRow) -> CommandRow:
        """Do it; the row with its outcome, which is written before it is told."""
        try:
            outcome = await self._outcome(row)
            state = CommandState.DONE
        except AgentdError as error:
            outcome, state = _Outcome(detail=str(error)), CommandState.FAILED
        except Exception:
            log.exception("command %d failed", row.id)
            detail = "a mistake in the daemon: its log has the details"
            outcome, state = _Outcome(detail=detail), CommandState.FAILED
        log.info("command %d (%s) %s: %s", row.id, row.kind, state, outcome.detail or "")
        return self._store.commands.change(
            row,
            state=state,
            agent_id=row.agent_id or outcome.agent_id,
            detail=outcome.detail,
            result=outcome.result,
        )

    async def _report(self, row: CommandRow) -> None:
        fields = {
            "status": CommandStatus(row.state.value).value,
            "agentId": row.agent_id,
            "detail": (row.detail or "")[:_LONGEST_DETAIL] or None,
            "result": row.result,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            await self._ask(calls.report_command(row.id, given))
        except RelayRefused as refusal:
            # The relay gave it up meanwhile, or was set up anew.
            log.warning("the outcome of command %d was refused: %s", row.id, refusal)

    async def _ask(self, call: Call) -> Mapping[str, Any]:
        """Ask until there is an answer. Raises: RelayRefused, when it is one."""
        backoff = Backoff(*RECONNECT)
        while True:
            self._retry.clear()
            try:
                answer: Mapping[str, Any] = await self._client.request(call)
            except RelayUnreachable:
                pass
            except RelayRefused as refusal:
                if not refusal.may_pass and refusal.status != 401:
                    raise
            else:
                return answer
            with suppress(TimeoutError):
                delay = backoff.next_delay(random.random())  # noqa: S311 - jitter
                await asyncio.wait_for(self._retry.wait(), delay)

    # --- what can be asked ---

    async def _outcome(self, row: CommandRow) -> _Outcome:
        """Raises: AgentdError."""
        has_begun = self._store.sessions.find(row.session_key) is not None
        age = now() - row.received_at
        if age > _STALE_SECONDS.get(row.kind, 0.0) and not has_begun:
            raise ControlRefused("too_late", "this machine was away too long to do it now")
        match row.kind:
            case CommandKind.LAUNCH:
                return await self._launch(row, has_begun=has_begun)
            case CommandKind.STOP:
                return await self._stop(row)
            case CommandKind.LOGS:
                return await self._logs(row)
        raise ControlRefused("unknown_command", f"this machine does not know {row.kind!r}")

    async def _launch(self, row: CommandRow, *, has_begun: bool) -> _Outcome:
        if not has_begun:
            request = await asyncio.to_thread(
                launch_request, row.session_key, row.input, self._defaults
            )
            self._supervisor.begin_background(request, os.environ)
            running = {"status": CommandStatus.RUNNING.value}
            with suppress(RelayUnreachable, RelayRefused):
                await self._client.request(calls.report_command(row.id, running))
        session = await self._supervisor.background_started(row.session_key)
        agent_id = session.row.agent_id
        problem = None if agent_id else session.row.problem or "it is not on the relay yet"
        return _Outcome(agent_id=agent_id, detail=problem)

    async def _stop(self, row: CommandRow) -> _Outcome:
        try:
            await self._supervisor.stop_session(
                str(row.agent_id), force=row.input.get("force") is True
            )
        except ControlRefused as refusal:
            if refusal.code != "unknown_session":
                raise
            return _Outcome(detail="it does not run here")
        return _Outcome()

    async def _logs(self, row: CommandRow) -> _Outcome:
        session = self._supervisor.find_row(str(row.agent_id))
        count = int(row.input.get("lines") or 200)
        transcript = session.transcript
        if transcript is None:
            raise ControlRefused("no_record", "this session has no record that can be read here")

        def read() -> list[str]:
            if session.state in LIVE and not transcript.exists():
                return []  # its first turn is still to come
            provider: Any = self._providers(session.provider)
            entries = read_tail(transcript, provider, count)
            return [line for entry in entries for line in render(entry)][-count:]

        try:
            lines = await asyncio.to_thread(read)
        except (OSError, UnknownProvider, AttributeError) as error:
            raise ControlRefused("no_record", f"its record cannot be read: {error}") from error
        while lines and sum(map(len, lines)) > _LONGEST_RESULT:
            lines = lines[len(lines) // 2 + 1 :]
        return _Outcome(result={"lines": lines})

    def _finished(self, command_id: int, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(command_id, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())
