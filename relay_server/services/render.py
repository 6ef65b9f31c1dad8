"""Our objects as the contract's JSON. The only place that spells its field names for answers."""

import json
from typing import Any, Final

from relay_server.clock import to_rfc3339
from relay_server.domain.agent import Agent
from relay_server.domain.approval import Approval
from relay_server.domain.command import Command
from relay_server.domain.message import Message
from relay_server.domain.receipt import Receipt
from relay_server.store.machines import Machine

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

Json = dict[str, Any]


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return _ENCODER.encode(value).encode()


def time_json(at_ms: int | None) -> str | None:
    """RFC 3339, or null."""
    return None if at_ms is None else to_rfc3339(at_ms)


def agent_json(agent: Agent, unread: int) -> Json:
    """The contract's Agent."""
    return {
        "id": agent.id,
        "name": agent.name,
        "label": agent.label,
        "machine": agent.machine,
        "provider": agent.provider,
        "rig": agent.rig,
        "project": agent.project,
        "sessionId": agent.session_id,
        "cwd": agent.cwd,
        "pid": agent.pid,
        "tags": list(agent.tags),
        "capabilities": list(agent.capabilities),
        "channels": list(agent.channels),
        "status": agent.status,
        "statusDetail": agent.status_detail,
        "approvalMode": agent.approval_mode,
        "reachability": agent.reachability,
        "lastProofAt": time_json(agent.last_proof_at),
        "instanceId": agent.instance_id,
        "epoch": agent.epoch,
        "version": agent.version,
        "meta": agent.meta,
        "builtIn": agent.built_in,
        "cursor": agent.cursor,
        "unread": unread,
        "registeredAt": time_json(agent.registered_at),
        "lastSeenAt": time_json(agent.last_seen_at),
    }


def _claim_json(message: Message, now: int) -> Json | None:
    lease = message.lease
    if lease is None or not lease.is_active(now):
        return None
    return {
        "agentId": lease.agent_id,
        "claimedAt": time_json(lease.claimed_at),
        "expiresAt": time_json(lease.expires_at),
        "completedAt": time_json(lease.completed_at),
    }


def message_json(message: Message, now: int) -> Json:
    """The contract's Message."""
    return {
        "id": message.id,
        "from": message.sender,
        "to": message.addressed_to,
        "body": message.body,
        "subject": message.subject,
        "channel": message.channel,
        "replyTo": message.reply_to,
        "threadId": message.thread_id,
        "kind": message.kind,
        "priority": message.priority,
        "claimable": bool(message.claimable),
        "claim": _claim_json(message, now),
        "payload": None if message.payload is None else json.loads(message.payload),
        "recipients": message.recipients,
        "held": {"reason": message.held_reason} if message.is_held else None,
        "createdAt": time_json(message.created_at),
        "expiresAt": time_json(message.expires_at),
    }


def receipt_json(receipt: Receipt) -> Json:
    """One receiver's receipt."""
    return {
        "agentId": receipt.agent_id,
        "state": receipt.state,
        "routedAt": time_json(receipt.routed_at),
        "handedAt": time_json(receipt.handed_at),
        "inContextAt": time_json(receipt.in_context_at),
        "readAt": time_json(receipt.read_at),
        "repliedAt": time_json(receipt.replied_at),
        "via": receipt.via,
        "detail": receipt.detail,
        "attempts": receipt.attempts,
    }


def machine_json(machine: Machine) -> Json:
    """The contract's Machine."""
    return {
        "id": machine.id,
        "hostname": None,
        "os": None,
        "version": None,
        "providers": [],
        "addresses": [],
        "load": None,
        "memory": None,
        "launchRoots": [],
        **machine.report,
        "status": "online" if machine.online else "offline",
        "registeredAt": time_json(machine.registered_at),
        "lastSeenAt": time_json(machine.last_seen_at),
    }


def approval_json(approval: Approval) -> Json:
    """The contract's Approval, and how long its answer holds."""
    return {
        "id": approval.id,
        "agentId": approval.agent_id,
        "tool": approval.tool,
        "summary": approval.summary,
        "input": None if approval.input is None else json.loads(approval.input),
        "status": approval.status,
        "decision": approval.decision,
        "reason": approval.reason,
        "remember": approval.remember,
        "decidedBy": approval.decided_by,
        "createdAt": time_json(approval.created_at),
        "expiresAt": time_json(approval.expires_at),
        "decidedAt": time_json(approval.decided_at),
    }


def command_json(command: Command) -> Json:
    """A command, for its machine and for whoever asked."""
    return {
        "id": command.id,
        "machine": command.machine,
        "kind": command.kind,
        "agentId": command.agent_id,
        "input": json.loads(command.input),
        "status": command.status,
        "detail": command.detail,
        "result": None if command.result is None else json.loads(command.result),
        "requestedBy": command.requested_by,
        "createdAt": time_json(command.created_at),
        "updatedAt": time_json(command.updated_at),
    }
