"""Codex's own command line, read as far as the relay has to understand it.

Pure. Knows which words take a value (so that a value is never taken for a subcommand), which
words set approvals or the sandbox in any of their spellings, and which have to reach the
app-server because the terminal's side of `--remote` does not carry them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

RESUMING = ("resume", "fork")
# Every other subcommand runs without a session in this terminal. Hidden ones included.
# fmt: off
_OTHER_SUBCOMMANDS = frozenset({
    "a", "agents", "app", "app-server", "apply", "archive", "cloud", "cloud-tasks", "completion",
    "debug", "delete", "doctor", "e", "exec", "exec-server", "execpolicy", "features",
    "generate-ts", "help", "login", "logout", "mcp", "mcp-server", "migrate-nfs-db",
    "migrate-rollouts", "plugin", "proto", "queue", "remote-control", "responses-api-proxy",
    "review", "sandbox", "stdio-to-uds", "unarchive", "update",
})
_WITH_VALUE = frozenset({
    "--add-dir", "--ask-for-approval", "--cd", "--config", "--disable", "--enable", "--image",
    "--local-provider", "--model", "--profile", "--remote", "--remote-auth-token-env", "--sandbox",
})
# fmt: on
_SHORT = {
    "-a": "--ask-for-approval",
    "-c": "--config",
    "-C": "--cd",
    "-h": "--help",
    "-i": "--image",
    "-m": "--model",
    "-p": "--profile",
    "-s": "--sandbox",
    "-V": "--version",
}
# What these flags mean for approval, sandbox and reviewer.
_BOTH_AT_ONCE = {
    "--yolo": ("never", "danger-full-access", None),
    "--dangerously-bypass-approvals-and-sandbox": ("never", "danger-full-access", None),
    "--full-auto": ("on-request", "workspace-write", None),
    "--approve-for-me": ("on-request", "workspace-write", "auto_review"),
}
# Keys under which the configuration sets what `-a` and `-s` set.
_APPROVAL_KEY, _SANDBOX_KEY = "approval_policy", "sandbox_mode"
# The values that can be set on a running thread as well; any other is left to Codex to judge.
SETTABLE = frozenset({"on-request", "never", "read-only", "workspace-write", "danger-full-access"})
# Keys that loosen or tighten either without replacing it: reported, not acted on.
_RELATED_KEYS = re.compile(
    r"(approvals_reviewer|default_permissions|permissions|sandbox_\w+)(\.|$)"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Word:
    """One option with its value, or one positional argument (then `name` is empty)."""

    name: str
    value: str | None
    written: tuple[str, ...]
    """The arguments it was written as."""


@dataclass(slots=True)
class Arguments:
    """What the person asked of Codex."""

    is_session: bool = True
    subcommand: str | None = None
    """`resume`, `fork` or None."""
    thread_id: str | None = None
    approval: str | None = None
    sandbox: str | None = None
    reviewer: str | None = None
    overrides: list[str] = field(default_factory=list)
    """The words that set approvals or the sandbox, as written."""
    folder: str | None = None
    """Where it shall work, if not here."""
    writable_folders: list[str] = field(default_factory=list)
    for_server: list[str] = field(default_factory=list)
    """What the app-server has to be told as well."""
    for_terminal: list[str] = field(default_factory=list)
    """All of it, without what Codex refuses together with `--remote`."""
    for_resuming: list[str] = field(default_factory=list)
    """The same without approvals and sandbox, which a remote `resume` or `fork` refuses too."""


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Read the arguments a person wrote after `--`."""
    parsed = Arguments()
    positions = 0
    for word in words(arguments):
        if not word.name:
            positions = _positional(parsed, word, positions)
        else:
            _option(parsed, word)
    return parsed


def words(arguments: Sequence[str]) -> Iterator[Word]:
    """Split into options with their values and positional arguments."""
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":  # what follows is a prompt, whatever it looks like
            yield Word("--", None, (argument, *rest))
            return
        if not argument.startswith("-") or argument == "-":
            yield Word("", argument, (argument,))
            continue
        name, value = _split(argument)
        written = [argument]
        if name in _WITH_VALUE and value is None and rest:
            value = rest.pop(0)
            written.append(value)
        if name == "--image":  # takes every value up to the next option
            while rest and not rest[0].startswith("-"):
                written.append(rest.pop(0))
        yield Word(name, value, tuple(written))


def _split(argument: str) -> tuple[str, str | None]:
    """`--name=value`, `-nvalue`, `-n=value` or a bare option."""
    if argument.startswith("--"):
        name, equals, value = argument.partition("=")
        return name, value if equals else None
    name = _SHORT.get(argument[:2], argument[:2])
    attached = argument[2:].removeprefix("=")
    return (name, attached) if attached else (name, None)


def _positional(parsed: Arguments, word: Word, position: int) -> int:
    value = word.value or ""
    if position == 0 and value in RESUMING:
        parsed.subcommand = value
    elif position == 0 and value in _OTHER_SUBCOMMANDS:
        parsed.is_session = False
    elif position == 1 and parsed.subcommand and _UUID.fullmatch(value):
        parsed.thread_id = value.lower()
    _keep(parsed, word)
    return position + 1


def _option(parsed: Arguments, word: Word) -> None:
    match word.name:
        case "--ask-for-approval":
            parsed.approval = word.value
            _keep_override(parsed, word, word.value)
        case "--sandbox":
            parsed.sandbox = word.value
            _keep_override(parsed, word, word.value)
        case name if name in _BOTH_AT_ONCE:
            parsed.approval, parsed.sandbox, parsed.reviewer = _BOTH_AT_ONCE[name]
            _keep_override(parsed, word, parsed.sandbox)
        case "--config":
            _config(parsed, word)
        case "--add-dir":
            parsed.writable_folders.append(word.value or "")
        case "--cd":
            parsed.folder = word.value
            _keep(parsed, word)
        case "--no-daemon":
            pass  # what it asks for is given: the session has an app-server of its own
        case name:
            if name in ("--help", "--version", "--remote"):
                parsed.is_session = False
            if name in ("--enable", "--disable", "--strict-config"):
                parsed.for_server += word.written
            _keep(parsed, word)


def _config(parsed: Arguments, word: Word) -> None:
    key, _, value = (word.value or "").partition("=")
    key, plain = key.strip(), value.strip().strip("\"'")
    parsed.for_server += word.written
    if key == _APPROVAL_KEY:
        parsed.approval = plain
        _keep_override(parsed, word, plain)
    elif key == _SANDBOX_KEY:
        parsed.sandbox = plain
        _keep_override(parsed, word, plain)
    else:
        if _RELATED_KEYS.match(key):
            parsed.overrides.append(" ".join(word.written))
        _keep(parsed, word)


def _keep(parsed: Arguments, word: Word) -> None:
    parsed.for_terminal += word.written
    parsed.for_resuming += word.written


def _keep_override(parsed: Arguments, word: Word, value: str | None) -> None:
    parsed.overrides.append(" ".join(word.written))
    parsed.for_terminal += word.written
    if value not in SETTABLE:
        parsed.for_resuming += word.written
