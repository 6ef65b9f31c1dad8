"""Prometheus Alertmanager's webhook (format version 4): one event an alert. Pure.

An alert's fingerprint is that of its labels, so the same alert has the same key each time it is
sent: repeats fold into its task, and `resolved` ends it.
"""

import hashlib
import json
import re
from typing import Any, Final

from relay_server.domain.connectors.payload import Event, Part, cut_body, cut_title, given, link

_FINGERPRINT: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_FIRING: Final = "firing"
RESOLVED: Final = "resolved"
# What the body says in so many words; the other annotations follow as lines.
_PROSE: Final = ("summary", "description")
_MAX_SEVERITY: Final = 64


def events_of(payload: Any) -> list[Event]:
    """The payload's alerts as events, in its order. Raises: InvalidRequest."""
    group = Part(payload)
    if "alerts" not in group.names():
        raise group.problem("alerts", "is required")
    return [_event(alert, group) for alert in group.parts("alerts")]


def _event(alert: Part, group: Part) -> Event:
    labels = alert.texts("labels")
    annotations = alert.texts("annotations")
    key = _key(alert, labels)
    return given(
        dedupeKey=f"alertmanager:{key}",
        title=_title(labels, annotations),
        body=cut_body(_body(labels, annotations)) or None,
        severity=labels.get("severity", "")[:_MAX_SEVERITY] or None,
        status=RESOLVED if _is_resolved(alert, group) else None,
        externalUrl=link(alert.text("generatorURL")),
        metadata={
            "labels": labels,
            "annotations": annotations,
            "groupKey": group.text("groupKey"),
            "startsAt": alert.text("startsAt"),
        },
    )


def _key(alert: Part, labels: dict[str, str]) -> str:
    fingerprint = alert.text("fingerprint")
    if fingerprint is not None:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise alert.problem("fingerprint", "must be 1..64 of A-Za-z0-9_-")
        return fingerprint
    if not labels:
        raise alert.problem("labels", "is required where there is no fingerprint")
    # Alertmanager before 0.16 sends none.
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:32]


def _is_resolved(alert: Part, group: Part) -> bool:
    """The alert's own status; a group may be firing while some of its alerts are resolved."""
    status = alert.text("status") or group.text("status") or _FIRING
    if status not in (_FIRING, RESOLVED):
        raise alert.problem("status", f"must be {_FIRING} or {RESOLVED}")
    return status == RESOLVED


def _title(labels: dict[str, str], annotations: dict[str, str]) -> str:
    name = labels.get("alertname") or annotations.get("summary") or "Alert"
    instance = labels.get("instance")
    return cut_title(f"{name} ({instance})" if instance else name) or "Alert"


def _body(labels: dict[str, str], annotations: dict[str, str]) -> str:
    prose = [text for name in _PROSE if (text := annotations.get(name, "").strip())]
    others = {name: text for name, text in annotations.items() if name not in _PROSE}
    lists = [_lines(others), _lines(labels)]
    return "\n\n".join([*prose, *(text for text in lists if text)])


def _lines(values: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in sorted(values.items()))
