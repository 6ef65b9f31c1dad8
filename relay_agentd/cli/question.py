"""How an approval reads: who asks, and exactly what would be done.

A person decides by what stands here, so nothing of the tool's input is left out and nothing in it
acts on the terminal.
"""

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.output import clock, is_terminal, one_line, parse_time, printable, seen
from relay_agentd.errors import RelayRefused
from relay_server.wire import ApprovalStatus

if TYPE_CHECKING:
    from relay_agentd.relay_client import RelayClient

Approval = Mapping[str, Any]

_MOST_LINES = 16
"""Of one question in a list; `approvals ID` shows all."""
_INDENT = "    "
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_VERDICTS = {
    ApprovalStatus.ALLOWED: "green",
    ApprovalStatus.DENIED: "red",
    ApprovalStatus.EXPIRED: "red",
    ApprovalStatus.CANCELED: "bright_black",
}


class Labels:
    """What people call the agents that ask; each is looked up once."""

    def __init__(self, client: "RelayClient") -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def of(self, agent_id: str) -> str:
        """The label, or nothing."""
        from relay_agentd import relay_calls

        if agent_id not in self._known:
            try:
                agent = self._client.request(relay_calls.agent(agent_id))
            except RelayRefused:  # gone, and its questions with it
                agent = {}
            self._known[agent_id] = one_line(agent.get("label") or "")
        return self._known[agent_id]


def print_question(approval: Approval, labels: Labels, *, whole: bool = False) -> None:
    """One approval: a heading and what would be done for a person, one line in a pipe."""
    label = labels.of(approval["agentId"])
    if not is_terminal():
        fields = [
            *(str(approval["id"]), approval["agentId"], label, approval["tool"]),
            *(approval["status"], approval["createdAt"], approval["expiresAt"], gist(approval)),
        ]
        click.echo("\t".join(one_line(field) for field in fields))
        return
    who = one_line(approval["agentId"]) + (f" ({label})" if label else "")
    click.echo(
        click.style(f"#{approval['id']}", fg="cyan", bold=True) + f"  {click.style(who, bold=True)}"
    )
    click.echo(f"{_INDENT}{one_line(approval['tool'])}, {_state(approval)}")
    lines = list(_content(approval))
    cut = 0 if whole else len(lines) - _MOST_LINES
    for line in lines[:_MOST_LINES] if cut > 0 else lines:
        click.echo(f"{_INDENT}{line}")
    if cut > 0:
        click.echo(f"{_INDENT}... {cut} more lines: relay-agentd approvals {approval['id']}")


def print_verdict(approval: Approval) -> None:
    """How one ended, as a line."""
    fields = [str(approval["id"]), approval["status"], approval.get("decidedBy") or ""]
    if not is_terminal():
        click.echo("\t".join(one_line(field) for field in fields))
    else:
        click.echo(click.style(f"#{approval['id']}", fg="cyan") + f"  {_state(approval)}")


def gist(approval: Approval) -> str:
    """What would be done, in one line."""
    return one_line(approval.get("summary") or approval["tool"])


def _state(approval: Approval) -> str:
    status = approval["status"]
    if status == ApprovalStatus.PENDING:
        left = (parse_time(approval["expiresAt"]) - datetime.now(UTC)).total_seconds()
        asked = seen(approval["createdAt"])
        return click.style(f"asked {asked}, expires in {_span(left)}", fg="bright_black")
    by = f" by {one_line(approval['decidedBy'])}" if approval.get("decidedBy") else ""
    at = f" at {clock(approval['decidedAt'])}" if approval.get("decidedAt") else ""
    why = f": {one_line(approval['reason'])}" if approval.get("reason") else ""
    return click.style(status, fg=_VERDICTS.get(status)) + f"{by}{at}{why}"


def _span(seconds: float) -> str:
    if seconds >= 7200:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 60)} min" if seconds >= 120 else f"{max(0, int(seconds))} s"


# --- what would be done ---


def _content(approval: Approval) -> Iterator[str]:
    """The lines that say all of it."""
    left = dict(approval.get("input") or {})
    command = left.pop("command", None)
    if command is not None:
        words = [str(word) for word in command] if isinstance(command, list) else None
        text = shlex.join(words) if words is not None else _text(command)
        yield from _block(text, "$ ")
    elif not left or one_line(approval["summary"]) != one_line(approval["tool"]):
        yield from _block(str(approval["summary"]), "")
    for name, value in _changes(left):
        yield from _diff(name, value)
    for name, value in left.items():
        if value not in (None, "", [], {}):
            yield from _block(_text(value), f"{one_line(name)}: ")


def _changes(left: dict[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """Takes what describes a change of files out of the input: each file with its diff."""
    file = left.pop("file_path", None) or left.pop("path", None)
    name = _text(file) if file is not None else ""
    edits = left.pop("edits", None)
    if isinstance(edits, list) and all(isinstance(edit, Mapping) for edit in edits):
        for edit in edits:
            yield name, _edit(edit)
    elif edits is not None:
        left["edits"] = edits
    if "old_string" in left or "new_string" in left:
        edit = {key: left.pop(key, "") for key in ("old_string", "new_string")}
        yield name, _edit(edit)
    elif isinstance(left.get("content"), str) and name:
        yield name, (f"+{line}" for line in left.pop("content").splitlines())
    elif name and not edits:
        left["file"] = name
    yield from _patches(left)


def _patches(left: dict[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """The changes of Codex: a list of files with their diffs, or a mapping."""
    changes = left.get("changes")
    if isinstance(changes, Mapping):
        changes = [
            {"path": path, **change} for path, change in changes.items() if isinstance(change, dict)
        ]
    if isinstance(changes, list) and all(isinstance(change, Mapping) for change in changes):
        del left["changes"]
        for change in changes:
            kind = change.get("kind")
            word = kind.get("type", "") if isinstance(kind, Mapping) else str(kind or "")
            rest = {k: v for k, v in change.items() if k not in ("path", "kind", "diff")}
            diff = str(change.get("diff") or "").splitlines()
            more = [f"{key}: {_text(value)}" for key, value in rest.items() if value is not None]
            yield f"{word} {change.get('path', '')}".strip(), [*diff, *more]


def _edit(edit: Mapping[str, Any]) -> Iterator[str]:
    old = str(edit.get("old_string", "")).splitlines()
    new = str(edit.get("new_string", "")).splitlines()
    yield from list(difflib.unified_diff(old, new, n=3, lineterm=""))[2:]
    rest = {k: v for k, v in edit.items() if k not in ("old_string", "new_string")}
    yield from (f"{key}: {_text(value)}" for key, value in rest.items())


def _diff(name: str, lines: Iterable[str]) -> Iterator[str]:
    yield click.style(one_line(name), bold=True)
    for line in lines:
        yield click.style(printable(line), fg=_DIFF_STYLES.get(line[:1]))


def _block(text: str, mark: str) -> Iterator[str]:
    """Lines of `text`, the first after `mark` and the others below it."""
    first, *others = printable(text).splitlines() or [""]
    yield mark + first
    yield from (" " * len(mark) + line for line in others)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
