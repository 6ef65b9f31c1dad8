"""How Claude Code is started without a terminal: one headless process behind our stream bridge.

Plans only; it reads the person's transcripts to see whether there is a conversation to go on with,
and writes nothing. The flags of the approval mode and the environment are `plan`'s, the same as in
a terminal.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from relay_launchers.base import ArgumentsRefused, BackgroundPlan, Command, LaunchRequest
from relay_launchers.claude.arguments import Arguments
from relay_launchers.claude.plugin_files import render_plugin

# `--permission-prompt-tool stdio`: what would open a dialog becomes a question on the pipe.
# `--replay-user-messages`: each message is shown when it enters the conversation.
_HEADLESS: Final = (
    *("-p", "--verbose", "--input-format", "stream-json", "--output-format", "stream-json"),
    *("--permission-prompt-tool", "stdio", "--replay-user-messages"),
    # It asks the person at the terminal; `relay_ask_operator` asks whoever there is.
    *("--disallowedTools", "AskUserQuestion"),
)
_OURS: Final = frozenset(
    {*("-p", "--print"), *(flag for flag in _HEADLESS if flag[:2] == "--")}
) - {*("--verbose", "--disallowedTools")}
# Which conversation it is, for the first start only: afterwards it is the same one again.
_CONVERSATION: Final = frozenset(
    {
        *("-r", "--resume", "-c", "--continue", "--session-id", "--fork-session"),
        *("--from-pr", "--teleport", "--resume-session-at"),
    }
)
_FORGETFUL: Final = "--no-session-persistence"
_MODES: Final = {"open": "default", "guarded": "default", "read-only": "dontAsk"}


def permission_mode(approval: str) -> str:
    """Claude Code's own permission mode that fits a mode chosen while the session runs. (The
    one its user began an open session with is not known any more.)"""
    return _MODES[approval]


def check_arguments(arguments: Arguments) -> None:
    """Raises ArgumentsRefused for what makes no sense without a terminal."""
    if not arguments.is_session:
        raise ArgumentsRefused("this starts no session; run claude itself with it")
    for option in arguments.options:
        if option.name in _OURS:
            raise ArgumentsRefused(f"{option.name} is set by the relay; leave it out")
        if option.name == _FORGETFUL:
            raise ArgumentsRefused(
                f"a background session is resumed from its transcript; leave {_FORGETFUL} out"
            )
    if arguments.operands:
        raise ArgumentsRefused(
            f"{arguments.operands[0]!r} is no option: give the first prompt with --prompt, and "
            "an option's value as --option=value"
        )


def background_plan(
    request: LaunchRequest,
    arguments: Arguments,
    *,
    resume: str | None,
    approval_flags: tuple[str, ...],
    environment: Mapping[str, str],
    new_session_id: Callable[[], str],
) -> BackgroundPlan:
    """The plan, for arguments that were checked."""
    plugin, socket = request.folder / "claude-plugin", request.folder / "stream.sock"
    persons = [option for option in arguments.options if option.name not in _CONVERSATION]
    if resume is None and arguments.chooses_conversation:
        flags: tuple[str, ...] = ()
        conversation, persons = arguments.session_id, list(arguments.options)
    else:
        flags, conversation = _conversation(resume, environment, new_session_id)
    claude = (
        str(request.binary.path),
        *_HEADLESS,
        *flags,
        *approval_flags,
        "--plugin-dir",
        str(plugin),
        *(word for option in persons for word in (option.name, *option.values)),
    )
    bridge = (str(request.pipe.with_name("stream_bridge.py")), str(socket), conversation or "")
    return BackgroundPlan(
        host=Command(
            argv=(str(request.python), "-I", "-S", *bridge, *claude),
            environment=environment,
            cwd=request.cwd,
        ),
        socket=socket,
        provider_session_id=conversation,
        files=render_plugin(
            plugin,
            python=request.python,
            pipe=request.pipe,
            mode=request.approval,
            folder=request.folder,
        ),
        approval_overrides=arguments.approval_overrides,
    )


def _conversation(
    resume: str | None, environment: Mapping[str, str], new_session_id: Callable[[], str]
) -> tuple[tuple[str, ...], str]:
    """The flags that choose the conversation, and its id."""
    transcripts = list(_transcripts(resume, environment)) if resume is not None else []
    if resume is not None and any(map(_has_conversation, transcripts)):
        return ("--resume", resume), resume
    # Killed before its first message: without a file the id is free still, and with an empty
    # one Claude Code neither resumes it nor lets it be taken.
    identifier = resume if resume is not None and not transcripts else new_session_id()
    return ("--session-id", identifier), identifier


def _transcripts(conversation: str, environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HOME") or "~").expanduser()
    person = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    # An id from elsewhere must not become a pattern.
    if conversation.replace("-", "").isalnum():
        yield from (person / "projects").glob(f"*/{conversation}.jsonl")


def _has_conversation(transcript: Path) -> bool:
    try:
        with transcript.open(encoding="utf-8", errors="replace") as lines:
            return any(_is_turn(line) for line in lines)
    except OSError:
        return False


def _is_turn(line: str) -> bool:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(entry, dict) and entry.get("type") in {"user", "assistant"}
