"""What the tools of a session do: arguments in, a text for a model out, `ToolBackend` between.

Owns nothing; runs on the daemon's loop. Knows no MCP (that is `relay_agentd.mcp_server`) and no
HTTP (that is behind the backend). The sender is always the session's agent, never an argument.
Every failure is a sentence that says what to do next.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from relay_agentd.errors import OutboxFull, RelayRefused, RelayUnreachable
from relay_agentd.tool_arguments import Arguments, BadArgument
from relay_agentd.tool_specs import TASK_STATUSES
from relay_launchers.frame import frame_batch, task_of
from relay_launchers.untrusted import one_line, quoted
from relay_server.wire import BUILT_IN_AGENTS, OPERATOR, AgentStatus, Reachability, TaskStatus

Message = Mapping[str, Any]
"""The API's message object."""
Task = Mapping[str, Any]
"""The API's task object."""

MAX_AGENTS_SHOWN: Final = 60

_REACHABILITY_HINTS: Final[Mapping[str, str]] = {
    Reachability.PUSH: "push",
    Reachability.BOUNDARY: "sees mail after its turn",
    Reachability.POLL: "sees mail when it looks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What a session pulls instead of waiting for it to be pushed."""

    messages: Sequence[Message]
    left: int = 0
    """Pending beyond the limit."""
    on_the_way: int = 0
    """Already offered to the session and not yet proved: they will appear by themselves."""


class ToolBackend(Protocol):
    """What the daemon offers the tools. `key` is an idempotency key: a call that a restarted
    daemon gets a second time has the same key and must have no second effect."""

    def session_of(self, session_key: str, call: Mapping[str, Any]) -> str:
        """The session a call is of: the pipe's own, but for pipes that serve what the client names
        beside each call (`_meta`)."""

    def agent_id(self, session_key: str) -> str | None:
        """The agent this session speaks as; None while it is not registered."""

    async def submit(
        self, session_key: str, message: Mapping[str, Any], *, key: str
    ) -> Message | None:
        """POST /api/messages with `from` the session's agent, by way of the durable outbox: on
        disk before anything is sent. Waits some seconds for the relay. None: it is queued and
        goes out later. An `id` below zero: agents of this machine have it, the relay gets it
        later. Raises: RelayRefused, and then it has left the outbox; OutboxFull."""

    async def claim(self, session_key: str, message_id: int, *, key: str) -> Message:
        """POST /api/messages/{id}/claim; again is harmless.

        Raises: RelayRefused, RelayUnreachable.
        """

    async def complete(
        self, session_key: str, message_id: int, result: str | None, *, key: str
    ) -> Message:
        """POST /api/messages/{id}/complete; again is harmless.

        Raises: RelayRefused, RelayUnreachable.
        """

    async def claim_task(self, session_key: str, task_id: int) -> Task:
        """POST /api/tasks/{id}/claim; again renews. Raises: RelayRefused, RelayUnreachable."""

    async def update_task(self, session_key: str, task_id: int, fields: Mapping[str, Any]) -> Task:
        """PATCH /api/tasks/{id}/status; again is harmless. Raises: RelayRefused,
        RelayUnreachable."""

    async def agents(self, query: str | None) -> Sequence[Mapping[str, Any]]:
        """GET /api/agents?q=. Raises: RelayRefused, RelayUnreachable."""

    async def agent(self, agent_id: str) -> Mapping[str, Any] | None:
        """GET /api/agents/{id}; None when that cannot be had at once. Never raises."""

    def take_mail(self, session_key: str, limit: int, *, key: str) -> Mail:
        """Pending inbox rows of this session, oldest first. In one transaction they become
        `read` (so no push repeats them, and the relay is told) and are bound to `key`: the same
        key gets the same messages again, because the first answer may have been lost."""

    def unnoticed(self, session_key: str) -> int | None:
        """How much mail waits in a session that only sees it when it asks; None for a session
        into which mail comes by itself."""

    def introduced(self, session_key: str, client: Mapping[str, Any]) -> None:
        """The client behind the pipe said who it is (MCP's `clientInfo`)."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model reads."""

    text: str
    is_error: bool = False


def idempotency_key(instance: str, request_id: int | str) -> str:
    """Names one call of one pipe for ever (1 and "1" are different requests)."""
    return "mcp-" + sha256(f"{instance} {json.dumps(request_id)}".encode()).hexdigest()[:40]


async def call_tool(
    backend: ToolBackend, session_key: str, name: str, arguments: Mapping[str, Any], *, key: str
) -> ToolResult:
    """Carry out one call. Never raises for anything a model or the relay did wrong."""
    tool = _TOOLS.get(name)
    if tool is None:
        return ToolResult(f"There is no tool {name}.", is_error=True)
    agent_id = backend.agent_id(session_key)
    if agent_id is None:
        return ToolResult("This session is not on the relay yet: try again soon.", is_error=True)
    call = _Call(backend, session_key, agent_id, Arguments(arguments), key)
    try:
        call.arguments.reject_unknown(name)
        return ToolResult(await tool(call) + _notice(call, name))
    except BadArgument as error:
        return ToolResult(str(error), is_error=True)
    except (RelayUnreachable, OutboxFull) as error:
        return ToolResult(_without_relay(error), is_error=True)
    except RelayRefused as refusal:
        return ToolResult(_explain(refusal, arguments), is_error=True)


def _without_relay(error: RelayUnreachable | OutboxFull) -> str:
    if isinstance(error, OutboxFull):
        return (
            f"Not sent: {error}. The relay has been away for long: go on without it, and tell "
            "your user that `relay-agentd doctor` says how to mend that."
        )
    return (
        "The relay cannot be reached now, and nothing was changed. Try again later "
        "(relay_send and relay_reply work meanwhile: they wait for it)."
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """One call."""

    backend: ToolBackend
    session_key: str
    agent_id: str
    arguments: Arguments
    key: str


def _notice(call: _Call, name: str) -> str:
    """What makes a session that has to ask for its mail do so."""
    waiting = call.backend.unnoticed(call.session_key) if name != "relay_inbox" else None
    return f"\nUnread mail: {waiting}. Call relay_inbox." if waiting else ""


async def _send(call: _Call) -> str:
    message: dict[str, Any] = {
        "to": call.arguments.required_text("to"),
        "body": call.arguments.body(),
        "subject": call.arguments.text("subject"),
        "channel": call.arguments.text("channel"),
        "priority": call.arguments.text("priority"),
        "claimable": call.arguments.flag("claimable"),
    }
    given = {name: value for name, value in message.items() if value is not None}
    sent = await call.backend.submit(call.session_key, given, key=call.key)
    return await _sent_text(call, sent)


async def _reply(call: _Call) -> str:
    message = {"replyTo": call.arguments.message_id(), "body": call.arguments.body()}
    sent = await call.backend.submit(call.session_key, message, key=call.key)
    return await _sent_text(call, sent)


async def _sent_text(call: _Call, sent: Message | None) -> str:
    if sent is None:
        return (
            "Queued: the relay cannot be reached now. It will be sent by itself when the relay "
            "is back; do not send it again."
        )
    if sent["id"] < 0:
        return _local_text(sent)
    what = f"message {sent['id']} to {sent['to']}"
    if sent.get("held"):
        return (
            f"Stored as {what}, but held back until a person lets it through (this thread has "
            "too many messages). Do not send it again; go on with something else."
        )
    return f"Sent as {what}{await _receivers(call, sent)}"


def _local_text(sent: Message) -> str:
    """The relay is away, and agents of this machine have it already."""
    target = str(sent["to"])
    if ":" in target or target == "broadcast":
        who = f"{sent['recipients']} of {target} on this machine; others get it"
    else:
        who = f"{target} on this machine; the relay gets it"
    return (
        f"Delivered as message {sent['id']} to {who} when the relay, which cannot be reached now, "
        "is back. Do not send it again."
    )


async def _receivers(call: _Call, sent: Message) -> str:
    target, count = str(sent["to"]), sent.get("recipients")
    if target in BUILT_IN_AGENTS:
        return "."
    if ":" not in target and target != "broadcast":
        agent = await call.backend.agent(target)
        return f" ({_presence(agent)})." if agent else "."
    if count == 0:
        return ": no agent matches at present, so nobody gets it. relay_agents lists who is there."
    return f": {count} agent{'' if count == 1 else 's'}."


async def _inbox(call: _Call) -> str:
    mail = call.backend.take_mail(call.session_key, call.arguments.limit(), key=call.key)
    parts = [frame_batch(mail.messages, agent_id=call.agent_id)] if mail.messages else []
    if mail.left:
        parts.append(f"{mail.left} more: call relay_inbox again.")
    if mail.on_the_way:
        parts.append(f"{mail.on_the_way} more on the way into this session by themselves.")
    if parts:
        return "\n".join(parts)
    if call.backend.unnoticed(call.session_key) is None:
        return "No unread mail. New mail comes in by itself."
    return f"No unread mail for {call.agent_id}. Look again later."


async def _agents(call: _Call) -> str:
    query = call.arguments.text("query") or None
    agents = await call.backend.agents(query)
    shown = sorted(agents, key=lambda agent: agent.get("status") == AgentStatus.OFFLINE)
    lines = [_agent_line(agent, call.agent_id) for agent in shown[:MAX_AGENTS_SHOWN]]
    if len(agents) > MAX_AGENTS_SHOWN:
        lines.append(f"{len(agents) - MAX_AGENTS_SHOWN} more: narrow it with query.")
    return "\n".join(lines) or f"No agent matches {query!r}; leave query out to see all."


async def _claim(call: _Call) -> str:
    if call.arguments.is_about_task():
        task = await call.backend.claim_task(call.session_key, call.arguments.task_id())
        return (
            f"Task {task['id']} is yours{_until(task.get('leaseExpiresAt'))}. "
            f"{_task_hint(task['id'])}"
        )
    number = call.arguments.message_id()
    claimed = await call.backend.claim(call.session_key, number, key=call.key)
    task_id = task_of(claimed)
    hint = f"When the work is done: relay_complete message_id={number}."
    return (
        f"Message {number} is yours{_until((claimed.get('claim') or {}).get('expiresAt'))}. "
        f"{hint if task_id is None else _task_hint(task_id)}"
    )


def _until(time: str | None) -> str:
    return f" until {time}" if time else ""


def _task_hint(task_id: int) -> str:
    return (
        f"Report with relay_task_update task_id={task_id}; when it is done: "
        f"relay_complete task_id={task_id}."
    )


async def _complete(call: _Call) -> str:
    is_task, result = call.arguments.is_about_task(), call.arguments.text("result") or None
    if is_task:
        number = call.arguments.task_id()
        fields = {"status": TaskStatus.DONE.value, "result": result}
        await _update(call, number, fields)
        return f"Task {number} is done."
    number = call.arguments.message_id()
    await call.backend.complete(call.session_key, number, result, key=call.key)
    return f"Message {number} is completed" + (
        ", and its sender gets your result." if result else "."
    )


async def _task_update(call: _Call) -> str:
    number, arguments = call.arguments.task_id(), call.arguments
    fields = {
        "status": arguments.one_of("status", TASK_STATUSES),
        "progress": arguments.percent("progress"),
        "note": arguments.text("note") or None,
    }
    task = await _update(call, number, fields)
    progress = f", {task['progress']} %" if task.get("progress") is not None else ""
    return f"Task {number} is {task['status']}{progress}."


async def _update(call: _Call, number: int, fields: Mapping[str, Any]) -> Task:
    given = {name: value for name, value in fields.items() if value is not None}
    return await call.backend.update_task(call.session_key, number, given)


async def _ask_operator(call: _Call) -> str:
    message = {"to": OPERATOR, "subject": "Question", "body": call.arguments.body("question")}
    sent = await call.backend.submit(call.session_key, message, key=call.key)
    if sent is None:
        return await _sent_text(call, sent)
    return (
        f"Asked, as message {sent['id']}. The answer comes as mail, perhaps much later: go on with "
        "what does not depend on it, or end your turn."
    )


_TOOLS: Final[Mapping[str, Callable[[_Call], Awaitable[str]]]] = {
    "relay_send": _send,
    "relay_reply": _reply,
    "relay_inbox": _inbox,
    "relay_agents": _agents,
    "relay_claim": _claim,
    "relay_complete": _complete,
    "relay_task_update": _task_update,
    "relay_ask_operator": _ask_operator,
}


def _agent_line(agent: Mapping[str, Any], own_id: str) -> str:
    words = [(name, agent[name]) for name in ("project", "machine") if agent.get(name)]
    for name, word in (("tags", "tag"), ("capabilities", "cap"), ("channels", "channel")):
        words.extend((word, value) for value in agent.get(name) or ())
    details = [_presence(agent), *(f"{word}:{one_line(value)}" for word, value in words)]
    label = f" {quoted(agent['label'])}" if agent.get("label") else ""
    you = " (you)" if agent["id"] == own_id else ""
    return f"{one_line(agent['id'])}{you}{label}: {', '.join(details)}"


def _presence(agent: Mapping[str, Any]) -> str:
    status = str(agent.get("status"))
    if status == AgentStatus.OFFLINE:
        return "offline, gets mail when it is back"
    hint = _REACHABILITY_HINTS.get(str(agent.get("reachability")))
    return f"{status}, {hint}" if hint else status


def _explain(refusal: RelayRefused, arguments: Mapping[str, Any]) -> str:
    """A refusal of the relay as a sentence that says what to do."""
    problem, task_id = refusal.problem, arguments.get("task_id")
    what = f"Message {arguments.get('message_id')}" if task_id is None else f"Task {task_id}"
    suggestions = ", ".join(str(name) for name in problem.get("suggestions") or ())
    retry = problem.get("retryAfterSeconds")
    sentences = {
        "agent_not_found": f"No agent {arguments.get('to')} on the relay. "
        + (f"Did you mean {suggestions}?" if suggestions else "relay_agents lists all."),
        "message_not_found": f"There is no {what.lower()}.",
        "already_claimed": f"{what} is already claimed by "
        f"{problem.get('claimedBy', 'another agent')}: leave it to them.",
        "not_claimable": f"{what} cannot be claimed: {refusal}",
        "not_owner": f"{what} is not claimed by you (any more): relay_claim it first.",
        "rate_limited": f"Too many messages: wait {retry or 60} seconds, then go on.",
        "task_not_found": f"There is no {what.lower()}.",
        "invalid_transition": str(refusal),
    }
    if refusal.code in sentences:
        return sentences[refusal.code]
    fields = [f"{e.get('field')}: {e.get('message')}" for e in problem.get("errors") or ()]
    return f"The relay refused this: {'; '.join(fields) or refusal} ({refusal.code})."
