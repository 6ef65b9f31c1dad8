"""Reading a Claude Code transcript as people read a conversation: for `logs` and `attach`.

Pure. The file is undocumented (as found in 2.1.197 and 2.1.330): what does not look as known is
left out, and so are thinking, what sub-agents say among themselves, and what Claude Code notes for
itself.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from relay_launchers.base import LogEntry
from relay_launchers.claude.summary import summarize

_INTERRUPTED: Final = "[Request interrupted by user"
# System lines worth a word; most others count hooks and milliseconds.
_TOLD: Final = frozenset({"compact_boundary", "api_error", "informational", "local_command"})

Entry = Mapping[str, Any]


def read_log(lines: Sequence[str]) -> list[LogEntry]:
    """What these lines tell; the first and the last may be cut."""
    return [entry for line in lines for entry in _read(line)]


def _read(line: str) -> Iterator[LogEntry]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(entry, dict) or entry.get("isSidechain") is True:
        return
    reader = _READERS.get(str(entry.get("type")))
    if reader is not None:
        yield from reader(entry)


def _user(entry: Entry) -> Iterator[LogEntry]:
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    is_aside = entry.get("isMeta") is True or entry.get("isCompactSummary") is True
    texts = []
    for block in _blocks(content):
        if block.get("type") == "tool_result":
            failed = "failed: " if block.get("is_error") is True else ""
            yield _entry(entry, "result", failed + _text(block.get("content")))
        elif block.get("type") == "text":
            texts.append(str(block.get("text", "")))
    text = "\n".join(texts)
    # Mail by the messaging socket is meant too, and says where it is from.
    if text and not (is_aside and not isinstance(entry.get("origin"), dict)):
        yield _entry(entry, "notice" if text.startswith(_INTERRUPTED) else "user", text)


def _attachment(entry: Entry) -> Iterator[LogEntry]:
    """A message that a running turn took up."""
    attachment = entry.get("attachment")
    if isinstance(attachment, dict) and attachment.get("type") == "queued_command":
        text = _text(attachment.get("prompt"))
        if text:
            yield _entry(entry, "user", text)


def _assistant(entry: Entry) -> Iterator[LogEntry]:
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    failed = entry.get("isApiErrorMessage") is True
    for block in _blocks(content):
        if block.get("type") == "text" and block.get("text"):
            yield _entry(entry, "notice" if failed else "agent", str(block["text"]))
        elif block.get("type") == "tool_use":
            tool_input = block.get("input")
            given = tool_input if isinstance(tool_input, dict) else {}
            tool = str(block.get("name"))
            yield _entry(entry, "tool", f"{tool}: {summarize(tool, given)}")


def _system(entry: Entry) -> Iterator[LogEntry]:
    content = entry.get("content")
    if str(entry.get("subtype")) in _TOLD and isinstance(content, str) and content:
        yield _entry(entry, "notice", content)


_READERS: Final[dict[str, Callable[[Entry], Iterator[LogEntry]]]] = {
    "user": _user,
    "attachment": _attachment,
    "assistant": _assistant,
    "system": _system,
}


def _entry(entry: Entry, kind: Any, text: str) -> LogEntry:
    at = entry.get("timestamp")
    return LogEntry(at=at if isinstance(at, str) else None, kind=kind, text=text)


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = content if isinstance(content, list) else []
    return [block for block in blocks if isinstance(block, dict)]


def _text(content: Any) -> str:
    """The text of blocks; of an image, that it is one."""
    parts = []
    for block in _blocks(content):
        is_text = block.get("type") == "text"
        parts.append(str(block.get("text", "")) if is_text else f"[{block.get('type')}]")
    return "\n".join(parts)
