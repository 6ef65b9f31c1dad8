"""What goes through a Claude Code session's messaging socket: JSON lines, one a message.

Pure. The envelope names the sender; it never claims a permission mode for it (`from-mode`), which
Claude Code would believe.
"""

import json
import re
from collections.abc import Iterable
from typing import Final

# Claude Code drops the connection over 1,048,576 characters a line.
MAX_LINE_CHARACTERS: Final = 1_000_000
_ADDRESS: Final = "agent-relay"
# The head of each message in a delivery; `relay_launchers.frame` sees to it that no body has one.
_SENDER: Final = re.compile(r"^\[msg:\d+\] from (\S+) \(", re.MULTILINE)
_NOT_FOR_AN_ATTRIBUTE: Final = re.compile(r"[^\w.@-]")
_MOST_NAMED: Final = 3


def frames(text: str, token: str | None) -> bytes | None:
    """All that is written to the socket for one delivery; None when it is too long for it."""
    content = (
        f'<cross-session-message from="{_ADDRESS}" from-name="{sender_name(text)}">'
        f"\n{text}\n</cross-session-message>"
    )
    message = {"type": "user", "message": {"role": "user", "content": content}}
    lines = [json.dumps(message, ensure_ascii=False)]
    if len(lines[0]) > MAX_LINE_CHARACTERS:
        return None
    if token:
        lines.insert(0, json.dumps({"type": "auth", "token": token}))
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def sender_name(text: str) -> str:
    """Who a delivery is from, for the line the terminal shows."""
    names = _distinct(_NOT_FOR_AN_ATTRIBUTE.sub("_", name) for name in _SENDER.findall(text))
    if not names:
        return "Agent Relay"
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
