"""Tasks as the contract's JSON. The only place that spells their field names for answers."""

from relay_server.domain.task import HELD, Task, owner
from relay_server.services.render import Json, time_json
from relay_server.store.tasks import TaskEvent
from relay_server.wire import TaskStatus


def task_json(task: Task, now: int) -> Json:
    """The contract's Task. A lease whose time is over holds nothing, swept or not."""
    holder = owner(task, now)
    is_lapsed = task.status in HELD and holder is None
    return {
        "id": task.id,
        "source": task.source,
        "dedupeKey": task.dedupe_key,
        "title": task.title,
        "body": task.body,
        "severity": task.severity,
        "target": task.addressed_to,
        "channel": task.channel,
        "status": TaskStatus.OPEN if is_lapsed else task.status,
        "claimedBy": task.claimed_by if task.is_ended else holder,
        "leaseExpiresAt": time_json(task.lease_expires_at) if holder else None,
        "progress": task.progress,
        "result": task.result,
        "externalUrl": task.external_url,
        "metadata": task.metadata,
        "occurrenceCount": task.occurrence_count,
        "messageId": task.message_id,
        "createdAt": time_json(task.created_at),
        "firstSeenAt": time_json(task.first_seen_at),
        "lastSeenAt": time_json(task.last_seen_at),
        "updatedAt": time_json(task.updated_at),
    }


def task_event_json(event: TaskEvent) -> Json:
    """One entry of its history."""
    return {
        "id": event.id,
        "taskId": event.task_id,
        "type": event.type,
        "at": time_json(event.at),
        "actor": event.actor,
        "status": event.status,
        "detail": event.detail,
    }
