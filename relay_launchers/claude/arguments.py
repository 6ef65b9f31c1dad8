"""Reading a person's own Claude Code arguments: what they ask for and what they overrule.

Pure. The option tables come from ``claude --help`` of 2.1.197 and 2.1.330; an option that is not
in them counts as one without a value, which can at worst mistake its value for the prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Options whose next argument is theirs, whatever it looks like.
_ONE_VALUE: Final = _words("""
    --agent --agents --append-system-prompt --append-system-prompt-file --autocompact --debug-file
    --effort --environment --fallback-model --input-format --json-schema --max-budget-usd
    --max-turns --model --name -n --output-format --permission-mode --permission-prompt-tool
    --permission-prompts --plugin-dir --plugin-url --remote-control-session-name-prefix
    --session-id --setting-sources --settings --system-prompt --system-prompt-file
    --system-prompt-snapshot
""")
# Options that take the next argument unless it is an option.
_PERHAPS_VALUE: Final = _words("""
    -d --debug --cloud --from-pr --prompt-suggestions --remote-control -r --resume --teleport
    -w --worktree
""")
# Options that take every following argument up to the next option.
_MANY_VALUES: Final = _words("""
    --add-dir --allowedTools --allowed-tools --betas --disallowedTools --disallowed-tools --file
    --mcp-config --tools --channels --dangerously-load-development-channels
""")

_SUBCOMMANDS: Final = _words("""
    agents attach auth auto-mode config doctor gateway import install kill logs mcp plugin plugins
    project purge respawn rm setup-token stop ultrareview update upgrade
""")
# What these start is no session in this process.
_ELSEWHERE: Final = _words("""
    -h --help -v -V --version --bg --background --cloud --desktop --environment
""")
# The conversation's id is not ours to choose.
_CHOOSES_CONVERSATION: Final = _words("""
    -r --resume -c --continue --session-id --fork-session --from-pr --teleport
""")
_PERMISSION_MODE: Final = "--permission-mode"
_BYPASSES: Final = _words("--dangerously-skip-permissions --allow-dangerously-skip-permissions")
# The person's own word on approvals.
_PERMISSIONS: Final = _BYPASSES | _words("""
    --permission-mode --allowedTools --allowed-tools --disallowedTools --disallowed-tools --tools
    --permission-prompt-tool --permission-prompts --restricted --settings --setting-sources
""")
# These switch hooks or plugins off, and so the gate.
_UNGATED: Final = _words("--bare --safe-mode")


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
        return next(iter(self.values_of("--session-id")), None)

    def values_of(self, name: str) -> tuple[str, ...]:
        """All values of one option, over its repetitions."""
        return tuple(
            value for option in self.options if option.name == name for value in option.values
        )

    @property
    def sets_permission_mode(self) -> bool:
        return any(
            option.name in {_PERMISSION_MODE, "--dangerously-skip-permissions"}
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
    if name in _ONE_VALUE:
        if rest:
            yield rest.pop(0)
        return
    at_most = 1 if name in _PERHAPS_VALUE else len(rest) if name in _MANY_VALUES else 0
    while at_most and rest and not rest[0].startswith("-"):
        yield rest.pop(0)
        at_most -= 1
