"""Callbacks as the contract's JSON: what is sent, and what is shown of it."""

import json
from collections.abc import Sequence

from relay_server.domain.callback import Attempt, Callback
from relay_server.services.render import Json, dumps, time_json


def callback_body(callback: Callback, at: int) -> bytes:
    """What its receiver gets; the signature is of exactly these bytes."""
    return dumps(
        {
            "event": callback.event,
            "task": json.loads(callback.task),
            "deliveredAt": time_json(at),
        }
    )


def callback_json(callback: Callback, attempts: Sequence[Attempt]) -> Json:
    """One callback and how its attempts went."""
    return {
        "id": callback.id,
        "deliveryId": callback.delivery_id,
        "event": callback.event,
        "status": callback.status,
        "attempts": [_attempt_json(attempt) for attempt in attempts],
        "createdAt": time_json(callback.created_at),
        "nextAttemptAt": time_json(callback.next_attempt_at),
        "endedAt": time_json(callback.ended_at),
    }


def _attempt_json(attempt: Attempt) -> Json:
    return {
        "number": attempt.number,
        "at": time_json(attempt.at),
        "statusCode": attempt.status_code,
        "error": attempt.error,
        "durationMs": attempt.duration_ms,
    }
