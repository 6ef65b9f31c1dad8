"""What people ask of a machine: start a session, end one, show its output.

A command is a row first and is told to the machine's streams after the commit; a machine that
was away finds it when it connects, or by asking for its pending ones.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from relay_server.domain import command as rules
from relay_server.domain.access import Principal
from relay_server.domain.agent import Agent
from relay_server.domain.command import Command, output_lines
from relay_server.domain.launch import require_launchable
from relay_server.errors import Conflict, GatewayTimeout, NotFound
from relay_server.services import lookup, render, waiting
from relay_server.services.core import Core
from relay_server.services.live import Topic
from relay_server.services.machines import require_machine
from relay_server.services.presence import Presence
from relay_server.store import commands
from relay_server.store.database import Reader, Transaction
from relay_server.wire import CommandKind, CommandStatus

DEFAULT_LINES: Final = 200
MAX_LINES: Final = 2000
# How long a person waits for a machine to show output.
LOGS_SECONDS: Final = 5
_SILENT: Final = f"the machine did not answer within {LOGS_SECONDS} s"


class CommandService:
    """Thread-safe; the writer lock makes each step of a command happen once."""

    def __init__(self, core: Core, presence: Presence) -> None:
        self._core = core
        self._presence = presence

    # -- asking

    def launch(self, machine_id: str, given: Mapping[str, Any], by: Principal) -> render.Json:
        """Start a session there.

        Raises: NotFound, Forbidden `launch_disabled` or `launch_root_forbidden`, InvalidRequest.
        """
        with self._core.database.write() as transaction:
            machine = require_machine(transaction, machine_id)
            require_launchable(machine.report, given["provider"], given["cwd"])
            return self._ask(transaction, machine_id, CommandKind.LAUNCH, None, given, by)

    def stop(self, agent_id: str, force: bool, by: Principal) -> render.Json:
        """End a session. Raises: NotFound, Conflict when it has no machine."""
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id)
            machine, wanted = _machine_of(agent), {"force": force}
            return self._ask(transaction, machine, CommandKind.STOP, agent_id, wanted, by)

    def logs(
        self, agent_id: str, lines: int, by: Principal, is_gone: waiting.IsGone
    ) -> render.Json:
        """The tail of a session's output, from its machine.

        Raises: NotFound, Conflict when it has no machine or that cannot tell, GatewayTimeout.
        """
        with self._core.database.write() as transaction:
            agent = lookup.require_agent(transaction, agent_id)
            machine, wanted = _machine_of(agent), {"lines": lines}
            asked = self._ask(transaction, machine, CommandKind.LOGS, agent_id, wanted, by)
        try:
            self.get(asked["id"], LOGS_SECONDS, is_gone)
        finally:
            ended = self._give_up(asked["id"])
        if ended.detail == _SILENT:
            raise GatewayTimeout(f"{_SILENT.capitalize()}.")
        if ended.status is CommandStatus.FAILED:
            raise Conflict(ended.detail or "The machine could not show the output.")
        return {
            "agentId": agent_id,
            "lines": output_lines(json.loads(ended.result or "[]"))[-lines:],
        }

    def _give_up(self, command_id: int) -> Command:
        """The command as it ended: nobody reads a later answer, so the machine need not give it."""
        now = self._core.clock.now_ms()
        with self._core.database.write() as transaction:
            command = _require(transaction, command_id)
            if not command.has_ended:
                command = rules.fail(command, _SILENT, now)
                self._change(transaction, command)
        return command

    def _ask(
        self,
        transaction: Transaction,
        machine: str,
        kind: CommandKind,
        agent_id: str | None,
        wanted: Mapping[str, Any],
        by: Principal,
    ) -> render.Json:
        now = self._core.clock.now_ms()
        command = Command(
            id=commands.newest_id(transaction) + 1,
            machine=machine,
            kind=kind,
            agent_id=agent_id,
            input=json.dumps(wanted, ensure_ascii=False),
            requested_by=by.name,
            created_at=now,
            updated_at=now,
        )
        commands.save(transaction, command)
        answer = render.command_json(command)
        core = self._core

        def tell() -> None:
            core.listeners.notify_machine(machine, "command", {"command": answer})
            if kind is not CommandKind.LOGS:
                core.events.add("session.requested", command=answer)

        transaction.on_commit(tell)
        return answer

    # -- the machine's side

    def report(self, command_id: int, given: Mapping[str, Any]) -> render.Json:
        """How far it got. Raises: NotFound, Conflict."""
        now = self._core.clock.now_ms()
        status, result = CommandStatus(given["status"]), given.get("result")
        with self._core.database.write() as transaction:
            before = _require(transaction, command_id)
            after = rules.report(
                before,
                status,
                now,
                agent_id=given.get("agentId"),
                detail=given.get("detail"),
                result=None if result is None else json.dumps(result, ensure_ascii=False),
            )
            self._presence.machine_seen(transaction, before.machine, now)
            if after is not before:
                self._change(transaction, after)
        return render.command_json(after)

    # -- reading

    def get(self, command_id: int, wait_seconds: float, is_gone: waiting.IsGone) -> render.Json:
        """One; with a wait once it has ended. Raises: NotFound."""

        def look() -> tuple[render.Json, bool]:
            with self._core.database.read() as reader:
                command = _require(reader, command_id)
            return render.command_json(command), command.has_ended

        return waiting.until(self._core, _topic(command_id), look, wait_seconds, is_gone)

    def of_machine(
        self, machine_id: str, status: CommandStatus | None, before: int | None, limit: int
    ) -> list[render.Json]:
        """Newest first. Raises: NotFound."""
        with self._core.database.read() as reader:
            found = commands.of_machine(reader, machine_id, status, before, limit)
            if not found:
                require_machine(reader, machine_id)
        return [render.command_json(command) for command in found]

    # -- the sweeper's

    def fail_untaken(self, transaction: Transaction, now: int, most: int) -> bool:
        """Give up some that no machine took for too long; whether there may be more."""
        untaken = commands.untaken(transaction, now - rules.PATIENCE_MS, most)
        for command in untaken:
            self._change(transaction, rules.fail(command, rules.UNTAKEN, now))
        return len(untaken) == most

    # -- changing

    def _change(self, transaction: Transaction, command: Command) -> None:
        commands.save(transaction, command)
        answer = render.command_json(command)
        core = self._core

        def tell() -> None:
            core.listeners.changed(_topic(command.id))
            if command.kind is not CommandKind.LOGS:
                core.events.add("session.updated", command=answer)

        transaction.on_commit(tell)


def _topic(command_id: int) -> Topic:
    return ("command", command_id)


def _require(reader: Reader, command_id: int) -> Command:
    command = commands.get(reader, command_id)
    if command is None:
        raise NotFound(f"There is no command {command_id}.", code="command_not_found")
    return command


def _machine_of(agent: Agent) -> str:
    if agent.machine is None:
        raise Conflict(f"{agent.id} is of no machine, so nobody can do that for it.")
    return agent.machine
