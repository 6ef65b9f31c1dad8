"""What may be started here from the relay: the owner's limits, applied to a launch command.

Off unless the owner named folders. A launch happens below one of them, links followed, in the
approval mode asked for: the provider's own arguments could loosen that mode, read other settings
or start programs of their own, so of them only the choice of a model passes. Looks at folders,
changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay_agentd.errors import ControlRefused
from relay_agentd.session_request import OpenRequest
from relay_agentd.settings import Settings
from relay_agentd.store.sessions import SessionKind

_ALLOWED_OPTIONS: Final = ("--model", "--effort")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchDefaults:
    """What the machine's settings say about sessions started from the relay."""

    roots: tuple[Path, ...]
    settings: Settings


def launch_request(key: str, wanted: Mapping[str, Any], defaults: LaunchDefaults) -> OpenRequest:
    """The session that is asked for. Raises: ControlRefused."""
    settings = defaults.settings
    fields = {
        **settings.described(),
        "key": key,
        "provider": wanted.get("provider"),
        "cwd": str(allowed_folder(str(wanted.get("cwd")), defaults.roots)),
        "approval": wanted.get("approvalMode") or settings.approval.value,
        "label": wanted.get("label") or None,
        "tags": wanted.get("tags") or list(settings.tags),
        "arguments": allowed_arguments(wanted.get("args") or []),
        "prompt": wanted.get("prompt") or None,
    }
    return OpenRequest.parse(fields, settings.rig, SessionKind.BACKGROUND)


def allowed_folder(cwd: str, roots: Sequence[Path]) -> Path:
    """The folder itself, wherever links lead. Raises: ControlRefused."""
    if not roots:
        raise ControlRefused(
            "launch_disabled",
            "this machine lets no session be started from the relay: its owner can allow it by"
            " AGENT_RELAY_LAUNCH_ROOTS",
        )
    try:
        folder = Path(cwd).resolve(strict=True)
        is_allowed = any(folder.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError) as error:
        raise ControlRefused("no_folder", f"there is no folder {cwd} on this machine") from error
    if not is_allowed:
        raise ControlRefused(
            "launch_root_forbidden", f"{cwd} is not below one of AGENT_RELAY_LAUNCH_ROOTS"
        )
    if not folder.is_dir():
        raise ControlRefused("no_folder", f"{cwd} is no folder")
    return folder


def allowed_arguments(arguments: Sequence[str]) -> list[str]:
    """Those that only choose a model. Raises: ControlRefused."""
    rest = list(arguments)
    while rest:
        name, equals, _ = rest.pop(0).partition("=")
        if name not in _ALLOWED_OPTIONS:
            raise ControlRefused(
                "argument_forbidden",
                f"{name!r} may not be given from the relay, only {' and '.join(_ALLOWED_OPTIONS)}:"
                " the approval mode and the machine's own settings decide the rest",
            )
        if not equals and (not rest or rest.pop(0).startswith("-")):
            raise ControlRefused("argument_forbidden", f"{name} needs a value")
    return list(arguments)
