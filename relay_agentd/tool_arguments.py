"""What a model gave a tool, read with patience: a wrong argument is a sentence it can mend it by.

Pure. What the tools do with it is in `relay_agentd.session_tools`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from relay_agentd.tool_specs import MAX_INBOX, TOOLS
from relay_server.wire import MAX_BODY_BYTES

# A number as the model may have read it: 42, "42", "msg:42", "[msg:42]", "task 42". Messages that
# the relay does not know yet have one below zero.
_NUMBER = re.compile(r"\[?(?:msg|task)?[:# ]*(-?[0-9]{1,18})\]?", re.IGNORECASE)


class BadArgument(Exception):
    """The model called the tool wrongly."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call."""

    given: Mapping[str, Any]

    def reject_unknown(self, tool: str) -> None:
        """Raises: BadArgument."""
        known = next(spec.arguments for spec in TOOLS if spec.name == tool)
        unknown = sorted(set(self.given) - set(known))
        if unknown:
            raise BadArgument(
                f"{tool} has no argument {', '.join(unknown)}; it takes {', '.join(known)}."
            )

    def text(self, name: str) -> str | None:
        """Raises: BadArgument."""
        value = self.given.get(name)
        if value is None or isinstance(value, str):
            return value
        raise BadArgument(f"{name} must be a string.")

    def required_text(self, name: str) -> str:
        """Raises: BadArgument."""
        value = self.text(name)
        if not value:
            raise BadArgument(f"{name} must be a string that is not empty.")
        return value

    def body(self, name: str = "body") -> str:
        """The text of a message. Raises: BadArgument."""
        body = self.required_text(name)
        size = len(body.encode(errors="replace"))
        if size > MAX_BODY_BYTES:
            raise BadArgument(
                f"{name} has {size} bytes, more than the {MAX_BODY_BYTES} a message may have: "
                "send a summary and where to find the rest."
            )
        return body

    def message_id(self) -> int:
        """Raises: BadArgument."""
        number = self._number("message_id")
        if not number:
            raise BadArgument("message_id must be the number N of a message [msg:N].")
        return number

    def task_id(self) -> int:
        """Raises: BadArgument."""
        number = self._number("task_id")
        if number < 1:
            raise BadArgument("task_id must be the number of a task.")
        return number

    def is_about_task(self) -> bool:
        """Of a tool that takes either: is it a task? Raises: BadArgument."""
        named = [name for name in ("message_id", "task_id") if self.given.get(name) is not None]
        if len(named) != 1:
            raise BadArgument("give either message_id, the N of [msg:N], or task_id.")
        return named == ["task_id"]

    def limit(self) -> int:
        """Raises: BadArgument."""
        value = self.given.get("limit", 20)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadArgument(f"limit must be a number from 1 to {MAX_INBOX}.")
        return min(value, MAX_INBOX)

    def percent(self, name: str) -> int | None:
        """Raises: BadArgument."""
        value = self.given.get(name)
        if value is None:
            return None
        digits = str(value).strip().removesuffix("%")
        if isinstance(value, bool) or not digits.isdecimal() or int(digits) > 100:
            raise BadArgument(f"{name} must be a number from 0 to 100.")
        return int(digits)

    def flag(self, name: str) -> bool | None:
        """Raises: BadArgument."""
        value = self.given.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise BadArgument(f"{name} must be true or false.")

    def one_of(self, name: str, words: Iterable[str]) -> str:
        """Raises: BadArgument."""
        value = self.required_text(name)
        if value not in words:
            raise BadArgument(f"{name} must be one of {', '.join(words)}.")
        return value

    def _number(self, name: str) -> int:
        """0 when it is none."""
        value = self.given.get(name)
        found = _NUMBER.fullmatch(str(value).strip())
        return int(found[1]) if found and not isinstance(value, bool) else 0
