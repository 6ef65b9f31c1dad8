"""Our tables in Codex's config.toml: put at its end, taken out of it wherever they are by then.

Pure. The file is a person's and Codex's: no line of theirs is touched, and each edit is checked by
reading the result, which must say what the file said before. Each of our tables has a mark behind
its header, which Codex keeps when it writes the file.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from relay_launchers.install import InstallRefused

MARK: Final = "# agent-relay"
_ABOUT: Final = f"{MARK}: `relay-agentd uninstall codex` removes the tables marked so"
_HEADER: Final = re.compile(r"\s*\[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One hook of ours."""

    event: str
    key: str
    """Codex's other word for the event, in the name by which it remembers trust."""
    command: str
    seconds: int
    trusted_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigTables:
    """What is ours in the file (`relay_launchers.install.Change`)."""

    config: str
    """The file's own path, which is in the names of its hooks."""
    name: str
    """Of the tools' server."""
    server: Mapping[str, Any]
    hooks: tuple[Hook, ...]
    program: str
    """In the command of each of our hooks, whatever version wrote it."""
    by_command: bool = False

    def put_in(self, text: str) -> str:
        """The file with the newest tables at its end. Raises InstallRefused."""
        without = self.take_out(text, None)
        found = _parsed(without)
        if self.name in found.get("mcp_servers", {}):
            raise InstallRefused(
                f"there is another server [mcp_servers.{self.name}] in it: rename that one first"
            )
        start = "" if not without or without.endswith("\n") else "\n"
        result = without + start + "".join(self._lines(found))
        try:
            fits = self._others(result) == self._others(without)
        except InstallRefused:
            fits = False
        if not fits:
            raise InstallRefused(
                "what is in it cannot be added to: write its servers and hooks as tables,"
                " [mcp_servers.NAME] and [[hooks.EVENT]]"
            )
        return result

    def is_in(self, text: str) -> bool:
        """Whether it is there in this very form."""
        return text == self.put_in(text) or self._lines_of(text) == self._lines_of(
            self.put_in(text)
        )

    def take_out(self, text: str, before: str | None) -> str:  # noqa: ARG002 - our tables are ours
        """Without our tables, of whatever version. Raises InstallRefused."""
        _parsed(text)
        lines = text.splitlines(keepends=True)
        ours = {index for start, end in self._places(lines) for index in range(start, end)}
        rest = "".join(line for index, line in enumerate(lines) if index not in ours)
        if self._others(rest) != self._others(text):
            raise InstallRefused(
                f"our tables were rewritten: remove [mcp_servers.{self.name}] and the hooks that"
                f" name {self.program} by hand"
            )
        return rest

    def is_same(self, text: str, other: str | None) -> bool:
        """By what they say."""
        return _parsed(text) == _parsed(other or "")

    # --- inside ---

    def _lines(self, found: Mapping[str, Any]) -> Iterator[str]:
        yield f"\n{_ABOUT}\n[mcp_servers.{self.name}] {MARK}\n"
        yield from (f"{key} = {_toml(value)}\n" for key, value in self.server.items())
        for hook in self.hooks:
            place = len(_groups(found.get("hooks", {}).get(hook.event, [])))
            words = f'type = "command", command = {_toml(hook.command)}, timeout = {hook.seconds}'
            yield f"\n[[hooks.{hook.event}]] {MARK}\nhooks = [{{ {words} }}]\n"
            name = f"{self.config}:{hook.key}:{place}:0"
            yield f"\n[hooks.state.{_toml(name)}] {MARK}\n"
            yield f"trusted_hash = {_toml(hook.trusted_hash)}\n"

    def _lines_of(self, text: str) -> list[str]:
        lines = text.splitlines()
        return [line for start, end in self._places(lines) for line in lines[start:end] if line]

    def _places(self, lines: list[str]) -> Iterator[tuple[int, int]]:
        """The lines of our tables: each with our remark and one blank line before it, without the
        blank lines and remarks behind it, which may be somebody's."""
        heads = [index for index, line in enumerate(lines) if _HEADER.match(line)]
        below = (f"[mcp_servers.{self.name}.", f"[[mcp_servers.{self.name}.")
        has_server = any(
            lines[head].startswith(f"[mcp_servers.{self.name}] {MARK}") for head in heads
        )
        for head, following in pairwise([*heads, len(lines)]):
            # What others put below our server means nothing without it.
            if not _is_marked(lines[head]) and not (has_server and lines[head].startswith(below)):
                continue
            start, end = head, following
            while end > head + 1 and _says_nothing(lines[end - 1]):
                end -= 1
            if start and lines[start - 1].strip() == _ABOUT:
                start -= 1
            if start and not lines[start - 1].strip():
                start -= 1
            yield start, end

    def _others(self, text: str) -> dict[str, Any]:
        """What a file says beside what is ours, and beside which hooks are trusted."""
        found = _parsed(text)
        servers, hooks = _table(found, "mcp_servers"), _table(found, "hooks")
        servers.pop(self.name, None)
        hooks.pop("state", None)
        left = {
            event: rest
            for event, groups in hooks.items()
            if (rest := [each for each in _groups(groups) if self.program not in str(each)])
        }
        return {**found, "mcp_servers": servers, "hooks": left}


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InstallRefused(f"it is not TOML ({error}): mend it first") from error


def _table(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Taken out of `found`. Raises InstallRefused."""
    table = found.pop(name, {})
    if not isinstance(table, dict):
        raise InstallRefused(f"`{name}` in it is not a table: mend it first")
    return table


def _groups(groups: Any) -> list[Any]:
    return groups if isinstance(groups, list) else [groups]


def _is_marked(line: str) -> bool:
    return line.rstrip().endswith(f"] {MARK}")


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _toml(value: Any) -> str:
    """As a TOML value: its basic strings are JSON's, but for escapes JSON need not use."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
