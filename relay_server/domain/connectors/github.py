"""GitHub's webhook: issues that open and close, and the signature it sends. Pure.

opened, reopened               a task
closed, deleted, transferred   its end
anything else, `ping` too      nothing
"""

import hashlib
import hmac
import re
from typing import Any, Final

from relay_server.domain.connectors.payload import Event, Part, cut_body, cut_title, given, link

_OPENING: Final = frozenset({"opened", "reopened"})
_CLOSING: Final = frozenset({"closed", "deleted", "transferred"})
_SCHEME: Final = "sha256="
# `severity: high`, `sev/2`, `priority-low`; `P1`, `sev2`; `critical`.
_SEVERITY: Final = re.compile(
    r"(?:severity|sev|priority|prio)\s*[:/=_-]\s*(?P<named>[\w-]{1,32})"
    r"|(?P<short>p[0-5]|sev[0-5]|critical|blocker|urgent|major|minor|high|medium|low)",
    re.IGNORECASE,
)


def is_signed(body: bytes, signature: str | None, secret: str) -> bool:
    """Whether `X-Hub-Signature-256` is that of exactly these bytes. In constant time."""
    expected = _SCHEME + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (signature or "").encode(errors="replace"))


def name_of(event: str, payload: Any) -> str:
    """What was delivered, as people call it: `issues.opened`, `ping`. Raises: InvalidRequest."""
    action = Part(payload).text("action")
    return f"{event}.{action}" if action else event


def event_of(event: str, payload: Any) -> Event | None:
    """The event of an `issues` delivery, or None: nothing of ours. Raises: InvalidRequest."""
    delivery = Part(payload)
    action = delivery.text("action")
    if event != "issues" or action not in _OPENING | _CLOSING:
        return None
    issue = delivery.part("issue")
    repository = delivery.part("repository").required_text("full_name")
    number = issue.required_integer("number")
    labels = [name for label in issue.parts("labels") if (name := label.text("name"))]
    body = issue.text("body")
    return given(
        dedupeKey=f"github:{repository}#{number}",
        title=cut_title(f"{repository}#{number}: {issue.text('title') or '(no title)'}"),
        body=None if body is None else cut_body(body),
        severity=_severity(labels),
        status="resolved" if action in _CLOSING else None,
        externalUrl=link(issue.text("html_url")),
        metadata={
            "action": action,
            "repository": repository,
            "number": number,
            "labels": labels,
            "sender": delivery.part("sender").text("login"),
        },
    )


def _severity(labels: list[str]) -> str | None:
    """Of the first label that looks like one."""
    for label in labels:
        if match := _SEVERITY.fullmatch(label.strip()):
            return (match["named"] or match["short"]).lower()
    return None
