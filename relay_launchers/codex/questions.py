"""What Codex asks a person before it acts: the app-server's requests read, and their answers.

    item/commandExecution/requestApproval   a command, or input for a terminal that runs already
    item/fileChange/requestApproval         a patch; its changes came before, with the item
    item/permissions/requestApproval        more access for the rest of the turn
    mcpServer/elicitation/request           a tool of an MCP server, where Codex itself asks

Pure. Every other request of the server is no question of ours (a form of an MCP server, a choice
the model wants the person to make): it becomes None, and whoever reads None answers nothing,
because even an error counts as a denial. Shapes were recorded from codex 0.169.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

JsonObject = dict[str, Any]
RequestId = int | str

_SHELL_FLAGS = ("-c", "-lc")
_SHELLS = ("bash", "sh", "zsh")
# Elsewhere, a program of that name may be anything.
_SHELL_FOLDERS = (".", "/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
# What a diff may take of an approval; the whole of it is in the terminal.
_LONGEST_DIFF = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, with everything that can be answered."""

    request_id: RequestId
    thread_id: str
    item_id: str
    id: str
    """The same when the server asks it again on another connection, and no other question's:
    a turn lives in one server, and a server numbers its requests."""
    tool: str
    summary: str
    """One line for people."""
    input: JsonObject
    allow: JsonObject
    allow_for_session: JsonObject
    deny: JsonObject
    """The turn goes on after it."""
    wants_changes: bool = False
    """A patch whose changes are still to be looked up: `with_changes`."""


def parse_question(
    request_id: RequestId, method: str, params: Mapping[str, Any]
) -> Question | None:
    """A request of the server as a question to a person; None when it is none."""
    read = _READERS.get(method)
    try:
        return None if read is None else read(request_id, params)
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def changes_of(item: Mapping[str, Any]) -> tuple[str, Sequence[JsonObject]] | None:
    """A turn's item as the id and the changes of a patch; None when it is none."""
    changes = item.get("changes")
    if item.get("type") != "fileChange" or not isinstance(changes, list):
        return None
    return str(item.get("id")), [each for each in changes if isinstance(each, dict)]


def with_changes(question: Question, changes: Sequence[JsonObject], cwd: str) -> Question:
    """The question about a patch, once its changes are known."""
    listed = [_change(each) for each in changes]
    summary = ", ".join(f"{each['kind']} {_inside(each['path'], cwd)}" for each in listed)
    return replace(
        question,
        summary=_line(summary) or question.summary,
        input={**question.input, "changes": listed},
        wants_changes=False,
    )


def _command(request_id: RequestId, params: Mapping[str, Any]) -> Question:
    network = params.get("networkApprovalContext")
    written = params.get("command") or ""
    summary = _unwrapped(written)
    if isinstance(network, dict):
        summary = f"reach {network.get('protocol')}://{network.get('host')} {summary}"
    # What is asked for beside the command; everything else Codex says is for its own dialog.
    wanted = {"reason", "additionalPermissions", "networkApprovalContext", "kind"}
    extra = {name: params[name] for name in sorted(wanted) if params.get(name)}
    return _question(
        request_id,
        params,
        tool="shell",
        summary=summary or "a command",
        content={"command": written, "cwd": params.get("cwd"), **extra},
        answers=_decisions(),
    )


def _patch(request_id: RequestId, params: Mapping[str, Any]) -> Question:
    extra = {name: params[name] for name in ("reason", "grantRoot") if params.get(name)}
    question = _question(
        request_id,
        params,
        tool="apply_patch",
        summary="change files",
        content=extra,
        answers=_decisions(),
    )
    return replace(question, wants_changes=True)


def _permissions(request_id: RequestId, params: Mapping[str, Any]) -> Question:
    wanted = {name: value for name, value in params["permissions"].items() if value}
    return _question(
        request_id,
        params,
        tool="request_permissions",
        summary="; ".join(_access(wanted)) or "more access",
        content={"permissions": wanted, "cwd": params.get("cwd"), "reason": params.get("reason")},
        answers=(
            {"permissions": wanted, "scope": "turn"},
            {"permissions": wanted, "scope": "session"},
            {"permissions": {}, "scope": "turn"},
        ),
    )


def _tool_call(request_id: RequestId, params: Mapping[str, Any]) -> Question | None:
    meta = params.get("_meta") or {}
    if meta.get("codex_approval_kind") != "mcp_tool_call":
        return None
    server, tool = str(params["serverName"]), str(meta["tool_name"])
    arguments = meta.get("tool_params") or {}
    allow: JsonObject = {"action": "accept", "content": {}}
    # Codex only remembers where it offered to.
    may_persist = "session" in (meta.get("persist") or ())
    return _question(
        request_id,
        # There is no item yet, but there is only one such question at a time in a turn.
        {"itemId": f"{server}/{tool}", **params},
        tool=f"mcp__{server}__{tool}",
        summary=f"{server}: {tool} {_flat(arguments)}",
        content={"server": server, "tool": tool, "arguments": arguments},
        answers=(
            allow,
            {**allow, "_meta": {"persist": "session"}} if may_persist else allow,
            {"action": "decline"},
        ),
    )


def _question(
    request_id: RequestId,
    params: Mapping[str, Any],
    *,
    tool: str,
    summary: str,
    content: JsonObject,
    answers: tuple[JsonObject, JsonObject, JsonObject],
) -> Question:
    thread_id, item_id = params["threadId"], params["itemId"]
    if not isinstance(thread_id, str) or not isinstance(request_id, int | str):
        raise TypeError
    turn = params.get("turnId") or thread_id
    return Question(
        request_id=request_id,
        thread_id=thread_id,
        item_id=str(item_id),
        id=f"{turn}/{item_id}/{request_id}",
        tool=tool,
        summary=_line(summary),
        input={name: value for name, value in content.items() if value is not None},
        allow=answers[0],
        allow_for_session=answers[1],
        deny=answers[2],
    )


def _decisions() -> tuple[JsonObject, JsonObject, JsonObject]:
    """`cancel` would end the turn as well."""
    return {"decision": "accept"}, {"decision": "acceptForSession"}, {"decision": "decline"}


def _change(change: Mapping[str, Any]) -> JsonObject:
    kind = change.get("kind")
    named = kind.get("type") if isinstance(kind, dict) else kind
    diff = str(change.get("diff") or "")
    if len(diff) > _LONGEST_DIFF:
        diff = f"{diff[:_LONGEST_DIFF]}\n[{len(diff) - _LONGEST_DIFF} characters more]"
    return {"kind": str(named or "change"), "path": str(change.get("path")), "diff": diff}


def _inside(path: str, cwd: str) -> str:
    """As the person in that folder would write it."""
    try:
        return str(PurePath(path).relative_to(cwd))
    except ValueError:
        return path


def _access(wanted: Mapping[str, Any]) -> Iterator[str]:
    files = wanted.get("fileSystem") or {}
    for access in ("write", "read"):
        if paths := files.get(access):
            yield f"{access} {', '.join(map(str, paths))}"
    if (wanted.get("network") or {}).get("enabled"):
        yield "reach the network"


def _unwrapped(command: str) -> str:
    """The command as the model wrote it, without the shell that Codex runs it in."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) != 3 or words[1] not in _SHELL_FLAGS:
        return command
    shell = PurePath(words[0])
    is_shell = shell.name in _SHELLS and str(shell.parent) in _SHELL_FOLDERS
    return words[2] if is_shell and not words[0].startswith(".") else command


def _flat(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


def _line(text: str) -> str:
    """One line in which nothing is hidden: line ends, control and direction marks are written
    out."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text.strip()
    )


_READERS = {
    "item/commandExecution/requestApproval": _command,
    "item/fileChange/requestApproval": _patch,
    "item/permissions/requestApproval": _permissions,
    "mcpServer/elicitation/request": _tool_call,
}
