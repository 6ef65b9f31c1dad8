"""Reading a person's own Claude Code arguments: what they ask for and what they overrule.

Pure. The option tables come from ``claude --help`` of 2.1.197 and 2.1.330; an option that is not
in them counts as one without a value, which can at worst mistake its value for the prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# Options whose next argument is theirs, whatever it looks like.
_ONE_VALUE: Final = frozenset(
    "--agent --agents --append-system-prompt --append-system-prompt-file --autocompact --debug-file"
    " --effort --environment --fallback-model --input-format --json-schema --max-budget-usd"
    " --max-turns --model --name -n --output-format --permission-mode --permission-prompt-tool"
    " --permission-prompts --plugin-dir --plugin-url --remote-control-session-name-prefix"
    " --session-id --setting-sources --settings --system-prompt --system-prompt-file"
    " --system-prompt-snapshot".split()
)
# Options that take every following argument up to the next option.
_MANY_VALUES: Final = frozenset(
    "--add-dir --allowedTools --allowed-tools --betas --disallowedTools --disallowed-tools --file"
    " --mcp-config --tools --channels --dangerously-load-development-channels".split()
)
# Options that take the next argument unless it is an option.
_PERHAPS_VALUE: Final = frozenset(
    "-d --debug --cloud --from-pr --prompt-suggestions --remote-control -r --resume --teleport -w"
    " --worktree".split()
)

_SUBCOMMANDS: Final = frozenset(
    "agents attach auth auto-mode doctor gateway import install logs mcp plugin plugins project"
    " purge respawn rm setup-token stop kill ultrareview update upgrade config".split()
)
# The session these start does not run in this process (or there is none).
_ELSEWHERE: Final = frozenset(
    "-h --help -v -V --version --bg --background --cloud --desktop --environment".split()
)
# The conversation's id is not ours to choose.
_CHOOSES_CONVERSATION: Final = frozenset(
    "-r --resume -c --continue --session-id --fork-session --from-pr --teleport".split()
)
_PERMISSION_MODE: Final = "--permission-mode"
_BYPASSES: Final = frozenset(
    {"--dangerously-skip-permissions", "--allow-dangerously-skip-permissions"}
)
# The person's own word on approvals, each wins over ours.
_PERMISSIONS: Final = _BYPASSES | frozenset(
    "--permission-mode --allowedTools --allowed-tools --disallowedTools --disallowed-tools --tools"
    " --permission-prompt-tool --permission-prompts --restricted".split()
)
# These switch hooks or plugins off, and so the gate.
_UNGATED: Final = frozenset({"--bare", "--safe-mode"})


@dataclass(frozen=True, slots=True)
class Option:
    """One option as written, with the values that belong to it."""

    name: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.name, *self.values))


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a person wrote, taken apart."""

    options: tuple[Option, ...]
    operands: tuple[str, ...]

    @property
    def is_session(self) -> bool:
        """Whether this starts a conversation in this very process."""
        if any(option.name in _ELSEWHERE for option in self.options):
            return False
        return not (self.operands and self.operands[0] in _SUBCOMMANDS)

    @property
    def chooses_conversation(self) -> bool:
        return any(option.name in _CHOOSES_CONVERSATION for option in self.options)

    @property
    def session_id(self) -> str | None:
        """The conversation's id when the person wrote it out."""
        for option in self.options:
            if option.name == "--session-id" and option.values:
                return option.values[0]
        return None

    @property
    def sets_permission_mode(self) -> bool:
        return any(
            option.name == _PERMISSION_MODE or option.name == "--dangerously-skip-permissions"
            for option in self.options
        )

    @property
    def may_bypass_permissions(self) -> bool:
        return any(
            option.name in _BYPASSES
            or (option.name == _PERMISSION_MODE and "bypassPermissions" in option.values)
            for option in self.options
        )

    @property
    def approval_overrides(self) -> tuple[str, ...]:
        """The options that overrule or escape an approval mode, as written."""
        return tuple(
            str(option) for option in self.options if option.name in _PERMISSIONS | _UNGATED
        )


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Take apart what a person wrote after ``--``."""
    options: list[Option] = []
    operands: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            operands.extend(rest)
            break
        if not word.startswith("-") or word == "-":
            operands.append(word)
            continue
        name, equals, value = word.partition("=")
        if equals and name.startswith("--"):
            options.append(Option(name, (value,)))
            continue
        options.append(Option(word, tuple(_take_values(word, rest))))
    return Arguments(tuple(options), tuple(operands))


def _take_values(name: str, rest: list[str]) -> Iterator[str]:
    """The values of option `name`, removed from the front of `rest`."""
    if name in _ONE_VALUE and rest:
        yield rest.pop(0)
    elif name in _PERHAPS_VALUE and rest and not rest[0].startswith("-"):
        yield rest.pop(0)
    elif name in _MANY_VALUES:
        while rest and not rest[0].startswith("-"):
            yield rest.pop(0)
