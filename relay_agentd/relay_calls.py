"""The relay's HTTP calls as values: one pure function for each row of the contract that we use.

A `Call` says what to send and nothing about how; `relay_client` carries it out. Ids in paths are
quoted, parameters that are None are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from relay_server.wire import IDEMPOTENCY_HEADER, INSTANCE_HEADER

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Fields | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    """How long the relay may hold the answer back, on top of the usual time."""


# --- service and machines ---


def health() -> Call:
    """Is there a relay, and of which version?"""
    return Call(method="GET", path="/healthz")


def stats() -> Call:
    """Totals for people."""
    return Call(method="GET", path="/api/stats")


def put_machine(machine: str, fields: Fields) -> Call:
    """Report this machine."""
    return Call(method="PUT", path=f"/api/machines/{_segment(machine)}", body=fields)


def machine(machine_id: str) -> Call:
    """One machine."""
    return Call(method="GET", path=f"/api/machines/{_segment(machine_id)}")


# --- agents ---


def register(agent: Fields, *, instance: str | None = None) -> Call:
    """Register an agent, or register it again."""
    return Call(method="POST", path="/api/agents", body=agent, headers=_instance(instance))


def agents(**filters: str | None) -> Call:
    """List agents; filters as in the contract (`status`, `tag`, `q`, ...)."""
    return Call(method="GET", path="/api/agents", query=_query(filters))


def agent(agent_id: str) -> Call:
    """One agent."""
    return Call(method="GET", path=f"/api/agents/{_segment(agent_id)}")


def change_agent(agent_id: str, fields: Fields) -> Call:
    """Change label, tags, capabilities, channels, approvalMode or meta."""
    return Call(method="PATCH", path=f"/api/agents/{_segment(agent_id)}", body=fields)


def remove_agent(agent_id: str) -> Call:
    """Take an agent off the relay; its messages stay."""
    return Call(method="DELETE", path=f"/api/agents/{_segment(agent_id)}")


def set_status(
    agent_id: str, status: str, detail: str | None = None, *, instance: str | None = None
) -> Call:
    """Report busy, idle, waiting or offline."""
    return Call(
        method="PATCH",
        path=f"/api/agents/{_segment(agent_id)}/status",
        body={"status": status, "statusDetail": detail},
        headers=_instance(instance),
    )


def heartbeats(agents: Sequence[Fields], *, machine: str) -> Call:
    """One sign of life for a whole machine."""
    return Call(
        method="POST", path="/api/heartbeats", body={"agents": list(agents), "machine": machine}
    )


def ack(agent_id: str, receipts: Sequence[Fields], *, instance: str | None = None) -> Call:
    """Report how far messages got in a session."""
    return Call(
        method="POST",
        path=f"/api/agents/{_segment(agent_id)}/ack",
        body={"receipts": list(receipts)},
        headers=_instance(instance),
    )


# --- messages ---


def send(fields: Fields, *, idempotency_key: str | None = None) -> Call:
    """Send a message; `fields` as in the contract (`from`, `to`, `body`, ...)."""
    return Call(
        method="POST", path="/api/messages", body=fields, headers=_idempotency(idempotency_key)
    )


def inbox(
    agent_id: str,
    *,
    since: int | None = None,
    limit: int | None = None,
    unread: bool = False,
    wait: float = 0.0,
) -> Call:
    """An agent's inbox, oldest first."""
    query = {
        "for": agent_id,
        "since": since,
        "limit": limit,
        "unread": "true" if unread else None,
        "wait": f"{wait:g}" if wait else None,
    }
    return Call(method="GET", path="/api/messages", query=_query(query), wait=wait)


def messages(**filters: str | int | None) -> Call:
    """Everyone's messages, newest first; name the filter `from` as `sender`."""
    named = {"from" if name == "sender" else name: value for name, value in filters.items()}
    return Call(method="GET", path="/api/messages", query=_query(named))


def message(message_id: int, *, wait: float = 0.0, state: str | None = None) -> Call:
    """One message with its receipts; with `wait`, when every receiver reached `state`."""
    query = {"wait": f"{wait:g}" if wait else None, "for": state}
    return Call(method="GET", path=f"/api/messages/{message_id}", query=_query(query), wait=wait)


def explain(message_id: int) -> Call:
    """Why a message did or did not arrive."""
    return Call(method="GET", path=f"/api/messages/{message_id}/explain")


def route(to: str, channel: str | None = None) -> Call:
    """Who would get a message."""
    return Call(method="GET", path="/api/route", query=_query({"to": to, "channel": channel}))


def thread(message_id: int) -> Call:
    """A whole conversation, oldest first."""
    return Call(method="GET", path=f"/api/messages/{message_id}/thread")


def claim(
    message_id: int,
    agent_id: str,
    *,
    lease_seconds: int | None = None,
    instance: str | None = None,
) -> Call:
    """Take claimable work."""
    body = {"agentId": agent_id, "leaseSeconds": lease_seconds}
    return _on_message(message_id, "claim", body, instance)


def release(message_id: int, agent_id: str, *, instance: str | None = None) -> Call:
    """Give claimed work back."""
    return _on_message(message_id, "release", {"agentId": agent_id}, instance)


def complete(
    message_id: int,
    agent_id: str,
    *,
    result: str | None = None,
    instance: str | None = None,
    idempotency_key: str | None = None,
) -> Call:
    """End claimed work; `result` becomes a reply in its thread."""
    call = _on_message(message_id, "complete", {"agentId": agent_id, "result": result}, instance)
    return replace(call, headers={**call.headers, **_idempotency(idempotency_key)})


def mark_read(message_id: int, agent_id: str) -> Call:
    """The agent has read the message."""
    return _on_message(message_id, "read", {"agentId": agent_id}, None)


# --- approvals ---


def ask(
    agent_id: str, fields: Fields, *, instance: str | None = None, idempotency_key: str
) -> Call:
    """Ask a person; `fields` as in the contract (`tool`, `summary`, `input`, ...)."""
    return Call(
        method="POST",
        path="/api/approvals",
        body={"agentId": agent_id, **fields},
        headers={**_instance(instance), **_idempotency(idempotency_key)},
    )


def approvals(**filters: str | int | None) -> Call:
    """List approvals; filters as in the contract (`status`, ...)."""
    return Call(method="GET", path="/api/approvals", query=_query(filters))


def approval(approval_id: int, *, wait: float = 0.0) -> Call:
    """One approval; with `wait`, when it is decided."""
    query = {"wait": f"{wait:g}" if wait else None}
    return Call(method="GET", path=f"/api/approvals/{approval_id}", query=_query(query), wait=wait)


def cancel_approval(approval_id: int, *, instance: str | None = None) -> Call:
    """Nobody needs the answer any more."""
    return Call(
        method="POST",
        path=f"/api/approvals/{approval_id}/cancel",
        body={},
        headers=_instance(instance),
    )


def decide(
    approval_id: int, decision: str, *, reason: str | None = None, remember: str | None = None
) -> Call:
    """A person's answer."""
    body = {"decision": decision, "reason": reason, "remember": remember}
    given = {name: value for name, value in body.items() if value is not None}
    return Call(method="POST", path=f"/api/approvals/{approval_id}/decision", body=given)


# --- commands ---


def commands(machine: str, **filters: str | int | None) -> Call:
    """What the relay asked of a machine; filters as in the contract (`status`, ...)."""
    path = f"/api/machines/{_segment(machine)}/commands"
    return Call(method="GET", path=path, query=_query(filters))


def command(command_id: int) -> Call:
    """One command."""
    return Call(method="GET", path=f"/api/commands/{command_id}")


def report_command(command_id: int, fields: Fields) -> Call:
    """How far the machine got: `status`, `agentId`, `detail`, `result`."""
    return Call(method="PATCH", path=f"/api/commands/{command_id}", body=fields)


# --- tasks ---


def tasks(**filters: str | int | None) -> Call:
    """List tasks; filters as in the contract (`status`, `q`, `claimedBy`, ...)."""
    return Call(method="GET", path="/api/tasks", query=_query(filters))


def task(task_id: int) -> Call:
    """One task."""
    return Call(method="GET", path=f"/api/tasks/{task_id}")


def task_events(task_id: int) -> Call:
    """What happened to a task, oldest first."""
    return Call(method="GET", path=f"/api/tasks/{task_id}/events")


def release_task(task_id: int, agent_id: str) -> Call:
    """Give a task back."""
    return Call(method="POST", path=f"/api/tasks/{task_id}/release", body={"agentId": agent_id})


def claim_task(
    task_id: int, agent_id: str, *, lease_seconds: int | None = None, instance: str | None = None
) -> Call:
    """Take a task, and with it its message."""
    body = {"agentId": agent_id, "leaseSeconds": lease_seconds}
    given = {name: value for name, value in body.items() if value is not None}
    path = f"/api/tasks/{task_id}/claim"
    return Call(method="POST", path=path, body=given, headers=_instance(instance))


def set_task_status(
    task_id: int, agent_id: str, fields: Fields, *, instance: str | None = None
) -> Call:
    """Report work on a task: `status`, `progress`, `result`, `note`."""
    return Call(
        method="PATCH",
        path=f"/api/tasks/{task_id}/status",
        body={"agentId": agent_id, **fields},
        headers=_instance(instance),
    )


# --- streams ---


def stream(agent_ids: Iterable[str], *, machine: str) -> Call:
    """Mail and changes for all sessions of a machine."""
    query = [("agent", agent_id) for agent_id in agent_ids]
    return Call(method="GET", path="/api/stream", query=(*query, ("machine", machine)))


def change_stream(stream_id: str, agent_ids: Iterable[str]) -> Call:
    """Change the agents of an open stream."""
    return Call(
        method="PUT",
        path=f"/api/stream/{_segment(stream_id)}",
        body={"agents": list(agent_ids)},
    )


def events(types: Iterable[str] = (), *, last_event_id: str | None = None) -> Call:
    """Everything that happens."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    query = _query({"types": ",".join(types) or None})
    return Call(method="GET", path="/api/events", query=query, headers=headers)


def _on_message(message_id: int, verb: str, body: Fields, instance: str | None) -> Call:
    given = {name: value for name, value in body.items() if value is not None}
    return Call(
        method="POST",
        path=f"/api/messages/{message_id}/{verb}",
        body=given,
        headers=_instance(instance),
    )


def _instance(instance: str | None) -> dict[str, str]:
    return {} if instance is None else {INSTANCE_HEADER: instance}


def _idempotency(key: str | None) -> dict[str, str]:
    return {} if key is None else {IDEMPOTENCY_HEADER: key}


def _query(values: Mapping[str, str | int | None]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items() if value is not None)


def _segment(text: str) -> str:
    return quote(text, safe="")
