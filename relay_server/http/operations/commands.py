"""What people ask of a machine, and its reports: sessions started and stopped, their output."""

from typing import Final

from relay_server.http import query, schemas, shapes
from relay_server.http.operation import (
    OWNER_ONLY,
    READERS,
    SESSIONS,
    Call,
    Operation,
    Reply,
    accepted,
    ok,
)
from relay_server.http.query import Query
from relay_server.services.commands import DEFAULT_LINES, MAX_LINES, CommandService
from relay_server.services.voices import Voices
from relay_server.wire import CommandStatus

_MISSING: Final = "command_not_found"
_NO_MACHINE: Final = "machine_not_found"


class CommandOperations:
    """Handlers of commands."""

    def __init__(self, commands: CommandService, voices: Voices) -> None:
        self._commands = commands
        self._voices = voices

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [*self._asking(), *self._following()]

    def _asking(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/machines/{machineId}/sessions",
                name="launchSession",
                summary="Start a supervised background session, where the machine allows it",
                handler=self.launch,
                allowed=OWNER_ONLY,
                body=schemas.LAUNCH,
                path_kinds={"machineId": schemas.MACHINE_ID},
                missing=_NO_MACHINE,
                answers={202: shapes.COMMAND},
                problems=(_NO_MACHINE, "launch_disabled", "launch_root_forbidden"),
                is_creating=True,
            ),
            Operation(
                method="POST",
                path="/api/agents/{agentId}/stop",
                name="stopSession",
                summary="End a session",
                handler=self.stop,
                allowed=OWNER_ONLY,
                body=schemas.STOP,
                answers={202: shapes.COMMAND},
                problems=("agent_not_found", "conflict"),
                is_creating=True,
            ),
            Operation(
                method="GET",
                path="/api/agents/{agentId}/logs",
                name="readOutput",
                summary="The tail of a background session's output, from its machine",
                handler=self.logs,
                allowed=READERS,
                query=Query({"lines": query.integer(1, MAX_LINES, DEFAULT_LINES)}),
                answers={200: shapes.OUTPUT},
                is_waiting=True,
                problems=("agent_not_found", "conflict", "machine_timeout", "too_many_waits"),
            ),
        ]

    def _following(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/api/machines/{machineId}/commands",
                name="listCommands",
                summary="A machine's commands, newest first",
                handler=self.of_machine,
                allowed=READERS,
                query=Query(
                    {
                        "status": query.choice(CommandStatus),
                        "before": query.an_id(),
                        "limit": query.limit(),
                    }
                ),
                path_kinds={"machineId": schemas.MACHINE_ID},
                missing=_NO_MACHINE,
                answers={200: shapes.COMMANDS},
                problems=(_NO_MACHINE, "sender_forbidden"),
            ),
            Operation(
                method="GET",
                path="/api/commands/{commandId}",
                name="getCommand",
                summary="One command; with `wait`, when it has ended",
                handler=self.get,
                allowed=READERS,
                query=Query({"wait": query.seconds("how long to wait for its end")}),
                path_kinds={"commandId": schemas.ID},
                missing=_MISSING,
                answers={200: shapes.COMMAND},
                problems=(_MISSING, "sender_forbidden", "too_many_waits"),
            ),
            Operation(
                method="PATCH",
                path="/api/commands/{commandId}",
                name="reportCommand",
                summary="How far the machine got; `accepted` can be said only once",
                handler=self.report,
                allowed=SESSIONS,
                body=schemas.COMMAND_REPORT,
                path_kinds={"commandId": schemas.ID},
                missing=_MISSING,
                answers={200: shapes.COMMAND},
                problems=(_MISSING, "invalid_transition", "sender_forbidden"),
            ),
        ]

    def launch(self, call: Call) -> Reply:
        wanted = {name: value for name, value in call.body.items() if value is not None}
        return accepted(self._commands.launch(call.path["machineId"], wanted, call.principal))

    def stop(self, call: Call) -> Reply:
        is_forced = bool(call.body.get("force"))
        return accepted(self._commands.stop(call.path["agentId"], is_forced, call.principal))

    def logs(self, call: Call) -> Reply:
        agent_id, lines = call.path["agentId"], call.query["lines"]
        return ok(self._commands.logs(agent_id, lines, call.principal, call.is_gone))

    def of_machine(self, call: Call) -> Reply:
        # They hold folders and prompts, which are no business of other machines.
        self._voices.require_machine(call.principal, call.path["machineId"])
        status = call.query["status"]
        found = self._commands.of_machine(
            call.path["machineId"],
            CommandStatus(status) if status else None,
            call.query["before"],
            call.query["limit"],
        )
        return ok({"commands": found})

    def get(self, call: Call) -> Reply:
        self._require_own(call)
        wait = call.query["wait"] or 0
        return ok(self._commands.get(call.path["commandId"], wait, call.is_gone))

    def report(self, call: Call) -> Reply:
        self._require_own(call)
        return ok(self._commands.report(call.path["commandId"], call.body))

    def _require_own(self, call: Call) -> None:
        """Raises: NotFound, Forbidden."""
        machine = self._commands.get(call.path["commandId"], 0, call.is_gone)["machine"]
        self._voices.require_machine(call.principal, machine)
