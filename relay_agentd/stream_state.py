"""What the host of a background Claude Code session knows of it, whoever listens.

Used by `stream_bridge`, which has the protocol. Pure: no descriptor, no clock. Standard library
only, nothing of ours: it is loaded by a program that starts in milliseconds.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

OPEN_QUESTIONS: Final = 8 * 1024 * 1024
"""So many bytes of questions may wait for an answer; the next one is denied."""
REMEMBERED: Final = 1000
"""Messages on the way into a session at once are a handful."""
TOO_MANY: Final = "Agent Relay: too many questions wait for an answer already"

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """The object on a line; None when there is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


class Lines:
    """Cuts a stream into lines; one that is too long is passed over, or ends the stream."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0
        self.has_overrun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            whole = b"".join((*self._parts, piece))
            fits = self._size + len(piece) <= self._longest
            self._parts, self._size = [], 0
            if fits:
                yield whole
            else:
                self.has_overrun = True
        self._size += len(rest)
        if self._size <= self._longest:
            self._parts.append(rest)
        else:
            self._parts, self.has_overrun = [], True


class Session:
    """What is true of the session, whoever listens. Pure: no descriptor, no clock."""

    def __init__(self, pid: int, conversation: str) -> None:
        self._pid = pid
        self._conversation = conversation
        self._turn = "idle"
        self._questions: dict[str, bytes] = {}
        # Dictionaries for their order.
        self._taken: dict[str, None] = {}
        self._shown: dict[str, None] = {}

    def hello(self) -> list[bytes]:
        """All of it, for one who has just come."""
        greeting = {
            "type": "bridge_hello",
            "pid": self._pid,
            "conversation": self._conversation,
            "turn": self._turn,
            "taken": list(self._taken),
            "shown": list(self._shown),
            "questions": list(self._questions),
        }
        return [encode(greeting), *self._questions.values()]

    def from_claude(self, line: bytes) -> tuple[list[bytes], bytes]:
        """What the daemon is told of this line, and what Claude Code is answered at once."""
        message = decode(line) or {}
        told: list[bytes] = []
        answered = b""
        match message.get("type"):
            case "control_request":
                told, answered = self._asked(message, line + b"\n")
            case "control_cancel_request":
                self._questions.pop(str(message.get("request_id")), None)
                told = [line + b"\n"]
            case "user":
                told = self._showed(message)
            case "system":
                told = self._told(message)
            case "result":
                told = self._ended(message)
        return told, answered

    def from_daemon(self, line: bytes) -> tuple[list[bytes], bytes]:
        """What the daemon is told, and what Claude Code is given."""
        message = decode(line) or {}
        match message.get("type"):
            case "user":
                uuid = text(message.get("uuid"))
                if uuid is None:
                    return [], b""
                is_new = uuid not in self._taken
                _remember(self._taken, uuid)
                return [encode({"type": "bridge_taken", "uuid": uuid})], (
                    line + b"\n" if is_new else b""
                )
            case "control_response":
                response = message.get("response")
                asked = str(response.get("request_id")) if isinstance(response, dict) else ""
                waited = self._questions.pop(asked, None) is not None
                return [], line + b"\n" if waited else b""
            case "control_request":
                return [], line + b"\n"
            case _:
                return [], b""

    def _asked(self, message: Message, line: bytes) -> tuple[list[bytes], bytes]:
        name = str(message.get("request_id"))
        if len(line) + sum(map(len, self._questions.values())) > OPEN_QUESTIONS:
            denial = {"behavior": "deny", "message": TOO_MANY}
            response = {"subtype": "success", "request_id": name, "response": denial}
            return [], encode({"type": "control_response", "response": response})
        self._questions[name] = line
        return [line], b""

    def _showed(self, message: Message) -> list[bytes]:
        uuid = text(message.get("uuid"))
        # 2.1.197 shows a repetition at once, even while the first one waits in its queue; it
        # gets none from here.
        if uuid is None or message.get("isReplay") is not True:
            return []
        _remember(self._shown, uuid)
        return [encode({"type": "bridge_shown", "uuid": uuid})]

    def _told(self, message: Message) -> list[bytes]:
        if message.get("subtype") != "init":
            return []
        # It begins each turn, and names the conversation, another one after /clear.
        self._conversation = text(message.get("session_id")) or self._conversation
        return self._turned("busy")

    def _ended(self, message: Message) -> list[bytes]:
        problem = str(message.get("result") or message.get("errors") or "")[:500]
        return self._turned("idle", problem if message.get("is_error") is True else None)

    def _turned(self, turn: str, problem: str | None = None) -> list[bytes]:
        if turn == self._turn and problem is None:
            return []
        self._turn = turn
        return [encode({"type": "bridge_turn", "turn": turn, "problem": problem})]


def _remember(known: dict[str, None], uuid: str) -> None:
    known[uuid] = None
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
