"""From an error to what a person reads: one line that says what is wrong and how to mend it."""

import re

from relay_agentd.cli.output import printable
from relay_agentd.errors import (
    AgentdError,
    DaemonUnreachable,
    RelayRefused,
    RelayUnreachable,
    SettingsInvalid,
)
from relay_agentd.relay_url import is_local


def explain_failure(error: AgentdError) -> list[str]:
    """The lines for stderr; the first names the problem. They may quote what others wrote."""
    return [printable(re.sub(r"\[Errno -?\d+\] ", "", line)) for line in _lines(error)]


def _lines(error: AgentdError) -> list[str]:
    if isinstance(error, SettingsInvalid):
        return list(error.problems)
    if isinstance(error, RelayRefused):
        return [_refusal(error)]
    if isinstance(error, RelayUnreachable):
        mend = "Start it with `relay-agentd up`" if is_local(error.url) else "Start it there"
        return [f"{error}. {mend}, or set AGENT_RELAY_URL."]
    if isinstance(error, DaemonUnreachable):
        return [f"{error}. `relay-agentd up` starts it, and so does `relay-agentd run`."]
    return [str(error)]


def _refusal(error: RelayRefused) -> str:
    line = str(error).rstrip(".")
    suggestions = error.problem.get("suggestions")
    if suggestions:
        return f"{line}. Did you mean {' or '.join(map(str, suggestions[:3]))}?"
    if error.code in _MENDED:
        return f"{line}.{_MENDED[error.code]}"
    fields = error.problem.get("errors")
    if fields:
        named = "; ".join(f"{item['field']}: {item['message']}" for item in fields)
        return named if named == line else f"{line}: {named}"
    return f"{line} ({error.code})."


_MENDED = {
    "unauthorized": " Set AGENT_RELAY_TOKEN to the relay's token.",
    "forbidden": " Set AGENT_RELAY_TOKEN to a token of wider scope (`relay-server token create`).",
    "sender_forbidden": " `--from ID` speaks as an agent of this machine; for any other set"
    " AGENT_RELAY_TOKEN to an admin token.",
    "agent_not_found": " `relay-agentd agents` lists who is there.",
    "approval_not_found": " `relay-agentd approvals` lists those that wait for an answer.",
    "task_not_found": " `relay-agentd tasks` lists those there are.",
    "message_not_found": " (A task's number is not that of its message: `relay-agentd tasks`.)",
    "already_decided": "",
    "already_claimed": "",
    "not_owner": "",
}
"""What helps against a refusal, by its code."""
