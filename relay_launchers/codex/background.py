"""How Codex runs without a terminal: its app-server alone is the session's host.

    host       codex app-server --listen unix://FOLDER/as.sock  -c approval_policy ...
    attached   codex --remote unix://FOLDER/as.sock resume THREAD    a person's look at it

The adapter begins the thread, or goes on with it, under the policy that the plan leaves in the
folder. Plans only; nothing here spawns or writes.
"""

from collections.abc import Sequence
from pathlib import Path

from relay_launchers.base import ArgumentsRefused, Command, LaunchRequest
from relay_launchers.codex.arguments import SETTABLE, Arguments, parse_arguments, words

_FOR_SERVER = frozenset({"--config", "--enable", "--disable", "--strict-config"})
_POLICY = frozenset({"--ask-for-approval", "--sandbox"})
_BOTH = frozenset(
    {"--yolo", "--dangerously-bypass-approvals-and-sandbox", "--full-auto", "--approve-for-me"}
)
_TAKEN_CARE_OF = _FOR_SERVER | _POLICY | _BOTH | {"--add-dir", "--no-daemon"}


def parse_background(arguments: Sequence[str]) -> tuple[Arguments, list[str]]:
    """The arguments, and the models they name. Raises ArgumentsRefused for what only makes sense
    in a terminal."""
    models = []
    for word in words(arguments):
        if word.name == "--model" and word.value:
            models.append(word.value)
        elif word.name in ("", "--"):
            raise ArgumentsRefused(
                f"codex in the background takes no {word.written[0]!r} after `--`: write what it"
                " begins with as --prompt TEXT"
            )
        elif word.name not in _TAKEN_CARE_OF:
            raise ArgumentsRefused(
                f"codex in the background does not know {word.written[0]}: settings can be given"
                " as -c KEY=VALUE, the folder as --cwd before `--`"
            )
    parsed = parse_arguments(arguments)
    for value in (parsed.approval, parsed.sandbox):
        if value is not None and value not in SETTABLE:
            raise ArgumentsRefused(f"{value!r} is no approval policy or sandbox mode of Codex")
    return parsed, models


def attach_command(request: LaunchRequest, socket: Path, conversation: str) -> Command:
    """Codex's own terminal on a running thread; the thread stays when it quits."""
    return Command(
        argv=(str(request.binary.path), "--remote", f"unix://{socket}", "resume", conversation),
        environment=request.environment,
        cwd=request.cwd,
    )
