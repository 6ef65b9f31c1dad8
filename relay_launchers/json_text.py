"""Taking members out of a JSON file without touching anything else in it. Pure.

The file is a person's: its order, its indentation and its blanks stay. Only where the members lie
is found out; what is cut is the member, its comma and the blanks that stood before it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay_launchers.install import InstallRefused

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class JsonMembers:
    """Members of a JSON object that a provider's command puts in, named by their paths."""

    members: tuple[tuple[str, ...], ...]
    blank: Mapping[str, object] = field(default_factory=dict)
    """What the provider leaves of a file that had nothing else."""
    by_command: bool = True

    def put_in(self, text: str) -> str:
        """The command does it."""
        return text

    def is_in(self, text: str) -> bool:
        """Whether all of them are there, whatever they say."""
        return all(has_member(text, member) for member in self.members)

    def take_out(self, text: str, before: str | None) -> str:
        """Each member, and the object around it when that is left empty and was not there."""
        for member in self.members:
            text = without_member(text, member)
            around = member[:-1]
            if is_empty(text, around) and not (before and has_member(before, around)):
                text = without_member(text, around)
        return text

    def is_same(self, text: str, other: str | None) -> bool:
        """By what they say, whatever they look like."""
        return parsed(text) in (self.blank, {}) if other is None else parsed(text) == parsed(other)


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    start: int
    value: int
    end: int


def parsed(text: str) -> dict[str, Any]:
    """The object in a file; an empty file is an empty one. Raises InstallRefused."""
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InstallRefused(f"it is not JSON ({error}): mend it first") from error
    if not isinstance(document, dict):
        raise InstallRefused("it is not a JSON object: mend it first")
    return document


def has_member(text: str, path: Sequence[str]) -> bool:
    """Whether the object has that member. Raises InstallRefused."""
    found: Any = parsed(text)
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return False
        found = found[key]
    return True


def is_empty(text: str, path: Sequence[str]) -> bool:
    """Whether there is an empty object at that path, below the top. Raises InstallRefused."""
    found: Any = parsed(text)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return bool(path) and found == {}


def without_member(text: str, path: Sequence[str]) -> str:
    """`text` without one member; unchanged when it has none. Raises InstallRefused."""
    if not path or not has_member(text, path):
        return text
    at = _after_blanks(text, 0)
    members = _members(text, at)
    for key in path[:-1]:
        at = next(each.value for each in reversed(members) if each.key == key)
        members = _members(text, at)
    # A key that stands there twice goes as often.
    for index in reversed([n for n, each in enumerate(members) if each.key == path[-1]]):
        text = _cut(text, at, members, index)
        members = _members(text, at)
    return text


def _cut(text: str, at: int, members: list[_Member], index: int) -> str:
    """With the comma before it, or after it for the first."""
    if index > 0:
        return text[: members[index - 1].end] + text[members[index].end :]
    if len(members) > 1:
        return text[: members[0].start] + text[members[1].start :]
    return text[: at + 1] + text[_after_blanks(text, members[0].end) :]


def _members(text: str, at: int) -> list[_Member]:
    """The members of the object that begins at `at`. The text is known to be JSON."""
    found: list[_Member] = []
    at = _after_blanks(text, at + 1)
    while text[at] != "}":
        key, after = _DECODER.raw_decode(text, at)
        value = _after_blanks(text, _after_blanks(text, after) + 1)
        end = _DECODER.raw_decode(text, value)[1]
        found.append(_Member(key, at, value, end))
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
    return found


def _after_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at
