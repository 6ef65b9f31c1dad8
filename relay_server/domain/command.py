"""What the relay asks of a machine, and how far the machine got with it.

    pending → accepted → running → done | failed         steps may be skipped, never taken back

`accepted` can be said only once: of two daemons that hear the same command, one may go on.
Pure: the caller makes it atomic.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from relay_server.errors import Conflict
from relay_server.wire import CommandKind
from relay_server.wire import CommandStatus as S

NEXT: Final = {
    S.PENDING: frozenset({S.ACCEPTED, S.RUNNING, S.DONE, S.FAILED}),
    S.ACCEPTED: frozenset({S.RUNNING, S.DONE, S.FAILED}),
    S.RUNNING: frozenset({S.DONE, S.FAILED}),
    S.DONE: frozenset[S](),
    S.FAILED: frozenset[S](),
}
# A report whose answer was lost comes again. Not `accepted`: that one must win or lose.
_REPEATABLE: Final = frozenset({S.RUNNING, S.DONE, S.FAILED})
REPORTABLE: Final = (S.ACCEPTED, S.RUNNING, S.FAILED, S.DONE)

# Whoever asked has long gone on: a session that starts days later would only surprise.
PATIENCE_MS: Final = 24 * 3600 * 1000
UNTAKEN: Final = "the machine did not take the command within 24 hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One request. `input` and `result` are JSON objects as text."""

    id: int
    machine: str
    kind: CommandKind
    agent_id: str | None
    input: str
    status: S = S.PENDING
    detail: str | None = None
    result: str | None = None
    requested_by: str
    created_at: int
    updated_at: int

    @property
    def has_ended(self) -> bool:
        return not NEXT[self.status]


def report(
    command: Command,
    status: S,
    now: int,
    *,
    agent_id: str | None = None,
    detail: str | None = None,
    result: str | None = None,
) -> Command:
    """The command after its machine's word; the same object when that is old news.

    Raises: Conflict `invalid_transition`.
    """
    if status is command.status and status in _REPEATABLE:
        return command
    if status not in NEXT[command.status]:
        raise Conflict(
            f"Command {command.id} is {command.status}; it cannot become {status}.",
            code="invalid_transition",
        )
    return replace(
        command,
        status=status,
        # A launch learns its agent from the machine; the others were about one from the start.
        agent_id=command.agent_id or agent_id,
        detail=detail or command.detail,
        result=result or command.result,
        updated_at=now,
    )


def fail(command: Command, why: str, now: int) -> Command:
    """The relay itself gives up on it. Raises: Conflict `invalid_transition`."""
    return report(command, S.FAILED, now, detail=why)


def output_lines(result: Any) -> list[str]:
    """The lines of a `logs` command's result: a list, a text, or an object with either as `lines`.

    Whatever else a machine answers is shown as it is, on one line.
    """
    if isinstance(result, dict) and "lines" in result:
        result = result["lines"]
    if isinstance(result, str):
        return result.splitlines()
    if isinstance(result, list):
        return [line if isinstance(line, str) else _as_text(line) for line in result]
    return [] if result is None else [_as_text(result)]


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
