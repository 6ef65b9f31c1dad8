"""Which tool calls of a Claude Code session are allowed, asked about, denied.

Pure, and the whole of it: `hook.py` runs it before each tool call, as a sibling it finds by path,
hence the standard library only, and little of that.
"""

from __future__ import annotations

import os
import re

# As `typing` says it, without the 3 ms of importing that.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MODES = ("open", "guarded", "read-only")
RELAY_TOOL_PREFIX = "mcp__plugin_relay_relay__relay_"
# By their names: another server may call itself like ours and have more (see the tests).
RELAY_TOOLS = frozenset(
    RELAY_TOOL_PREFIX + name
    for name in (
        *("agents", "ask_operator", "claim", "complete", "inbox", "reply", "send", "task_update"),
    )
)
READ_ONLY = "Agent Relay: this session is read-only"

# Tools that neither change a file nor run or reach anything: what they touch is read, or is the
# session's own to-do list, or is a question to the person at the terminal.
HARMLESS_TOOLS = frozenset(
    {
        "AskUserQuestion",
        "BashOutput",
        "EnterPlanMode",
        "ExitPlanMode",
        "Glob",
        "Grep",
        "LS",
        "ListAgents",
        "NotebookRead",
        "Read",
        "StructuredOutput",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskOutput",
        "TaskUpdate",
        "TodoRead",
        "TodoWrite",
        "ToolSearch",
    }
)

# Commands without any option that writes, runs another program or reaches the network. Not
# `printf`: its -v sets PATH.
READING_COMMANDS = frozenset(
    (
        *("basename", "cat", "cd", "cmp", "cut", "df", "diff", "dirname", "du", "echo", "egrep"),
        *("fgrep", "grep", "head", "id", "ls", "md5sum", "nl", "pwd", "readlink"),
        *("realpath", "sha1sum", "sha256sum", "stat", "tac", "tail", "test", "tr", "true"),
        *("uname", "wc", "which", "whoami"),
    )
)
GIT_READING = frozenset(
    (
        *("blame", "describe", "diff", "log", "ls-files", "ls-tree", "rev-parse", "shortlog"),
        *("show", "status"),
    )
)
# Options that make the careful commands write or run something; prefixes, as git abbreviates.
GIT_FORBIDDEN = ("-o", "-O", "--ou", "--o=", "--ext", "--textc")
FIND_FORBIDDEN = ("-exec", "-ok", "-delete", "-fprint", "-fls")
# Anything that could substitute, redirect, group or escape: not judged here, hence refused.
UNJUDGED = frozenset("$`<>()\\\n\r#{}!")
# Without those characters a command line is words, quoted spans and these operators.
SHELL_PIECE = r"""\s*(?:(?P<operator>&&|\|\||[;|&])|(?P<word>(?:'[^']*'|"[^"]*"|[^\s'";&|])+))\s*"""
QUOTED = r"""'([^']*)'|"([^"]*)\""""


def stricter(launched: str, written: str) -> str:
    """The stricter of two modes; one that is not known counts as the strictest."""
    ranks = [MODES.index(mode) if mode in MODES else len(MODES) - 1 for mode in (launched, written)]
    return MODES[max(ranks)]


def only_reads(command: object, cwd: object) -> bool:
    """Whether a shell command, run in `cwd`, is certainly without side effects; in doubt, no."""
    if not isinstance(command, str) or UNJUDGED & set(command):
        return False
    # What a shell and we may take for a blank differently, or nobody sees.
    if not command.replace("\t", " ").isprintable():
        return False
    token_at = re.compile(SHELL_PIECE).match
    steps: list[list[str]] = [[]]
    position = 0
    while position < len(command):
        token = token_at(command, position)
        if token is None or token["operator"] == "&":
            return False
        if token["operator"]:
            steps.append([])
        else:
            steps[-1].append(token["word"])
        position = token.end()
    names = [_unquoted(words[0]) for words in steps if words]
    if "git" in names and ("cd" in names or not _is_usual_repository(cwd)):
        return False
    return all(_step_only_reads(words) for words in steps)


def _unquoted(word: str) -> str:
    return re.sub(QUOTED, r"\1\2", word)


def _step_only_reads(raw_words: list[str]) -> bool:
    if not raw_words:
        return False
    name, *rest = map(_unquoted, raw_words)
    if name in READING_COMMANDS:
        return True
    # An unquoted pattern may expand to a file named like an option.
    if any(set("*?[") & set(re.sub(QUOTED, "", word)) for word in raw_words):
        return False
    if name == "find":
        return not any(word.startswith(FIND_FORBIDDEN) for word in rest)
    if name == "git":
        return (
            bool(rest)
            and rest[0] in GIT_READING
            and not any(word.startswith(GIT_FORBIDDEN) for word in rest)
        )
    return False


def _is_usual_repository(cwd: object) -> bool:
    """Whether git, run in that folder, takes no checked out folder for a repository (a bare one is
    a few files that any commit can hold): its configuration names programs, which git runs."""
    if not isinstance(cwd, str) or not os.path.isabs(cwd):  # noqa: PTH117 - pathlib costs 5 ms
        return False
    folder = os.path.realpath(cwd)
    above = os.path.dirname(folder)  # noqa: PTH120
    while not os.path.lexists(f"{folder}/HEAD"):
        if os.path.lexists(f"{folder}/.git") or folder == above:
            return True
        folder, above = above, os.path.dirname(above)  # noqa: PTH120
    return False


def is_harmless(tool: str, tool_input: Mapping[str, Any], cwd: object) -> bool:
    """Whether a call in the folder `cwd` certainly has no side effect; in doubt, no."""
    if tool == "Bash":
        return only_reads(tool_input.get("command"), cwd)
    return tool in HARMLESS_TOOLS


def decide(
    mode: str, tool: str, tool_input: Mapping[str, Any], cwd: object, ask: Callable[[], str]
) -> tuple[str, str] | None:
    """The gate: (allow | ask | deny, reason), or None for no opinion.

    `ask` says what the daemon knows of the call: "new", "allowed" by a person for the rest of
    the session, or "silent", when it does not answer.
    """
    if tool in RELAY_TOOLS:
        return "allow", "a tool of the relay"
    if mode == "open" or is_harmless(tool, tool_input, cwd):
        return None
    if mode != "guarded":
        return "deny", READ_ONLY
    answer = ask()
    if answer == "allowed":
        return "allow", "Agent Relay: a person allowed this very call for the whole session"
    if answer == "new":
        return "ask", "Agent Relay: this session is guarded, a person decides"
    return "deny", "Agent Relay: this session is guarded and the relay's daemon does not answer"
