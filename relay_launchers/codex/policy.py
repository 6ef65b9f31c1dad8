"""What a Codex session may do, on its way from the plan to the adapter.

The terminal's flags reach the threads it starts, but not all of them say what has to be said: a
remote `resume` or `fork` refuses approval and sandbox flags, no flag names a permission profile,
and a mode that is tightened while the session runs was no flag at all. So the plan leaves the
policy as a file in the session's folder, and the adapter sets it over the connection. Pure.

The profile is there because of Codex's own rules (`rules/*.rules`, what "don't ask again" in its
dialog writes): a command they allow runs outside the sandbox, unasked and in every mode. It does
not where the profile forbids reading anything, and this one forbids the session's own folder. The
price: a command that a person approves then has no network. So read-only, where nobody approves
anything, always has it, and guarded has it where there are such rules.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from relay_launchers.base import ApprovalMode

POLICY_FILE = "codex-policy.json"
PROFILE = "agent-relay"
"""The permission profile that the app-server is started with."""

MODES: dict[ApprovalMode, tuple[str, str]] = {
    "open": ("never", "workspace-write"),
    # In workspace-write it would not ask for changes inside the workspace.
    "guarded": ("on-request", "read-only"),
    "read-only": ("never", "read-only"),
}
"""Approval and sandbox of each mode, as the flags `-a` and `-s` take them."""

# The same three sandboxes as a thread's setting spells them.
_SANDBOX_TYPES = {
    "read-only": "readOnly",
    "workspace-write": "workspaceWrite",
    "danger-full-access": "dangerFullAccess",
}
_STRICTNESS: tuple[ApprovalMode, ...] = ("open", "guarded", "read-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """What a session was started with, and how to say it to the app-server."""

    mode: ApprovalMode
    """As launched."""
    approval: str
    """As the flag `-a` takes it."""
    sandbox: str
    """As the flag `-s` takes it."""
    reviewer: str | None = None
    """Who answers approval requests instead of the person."""
    is_own: bool = False
    """The person said something about the sandbox himself: no profile takes its place."""
    is_resumed: bool = False
    """The terminal's flags do not reach its thread."""
    has_rules: bool = False
    """Codex's own rules allow some commands whatever the mode says."""

    def in_force(self, mode: ApprovalMode) -> ApprovalMode:
        """Nobody's word makes a session looser than it was launched."""
        return mode if is_stricter(mode, self.mode) else self.mode

    def must_be_set(self, mode: ApprovalMode) -> bool:
        """Whether the terminal's flags leave something to set on a new thread."""
        return mode != self.mode or self.is_resumed or self._is_confined(mode)

    def must_break_off(self, before: ApprovalMode | None, mode: ApprovalMode) -> bool:
        """Whether a turn that runs already may do what the mode forbids. `before`: what its
        thread was set to; a new thread has what the terminal's flags say."""
        if before is None and mode == self.mode:
            return self.has_rules and self._is_confined(mode)
        return is_stricter(mode, before or self.mode)

    def settings(self, mode: ApprovalMode) -> dict[str, Any]:
        """As `thread/settings/update` takes them."""
        approval, sandbox, reviewer = self._words(mode)
        settings: dict[str, Any] = {"approvalPolicy": approval, **reviewer}
        if self._is_confined(mode):
            return {**settings, "permissions": PROFILE}
        return {**settings, "sandboxPolicy": {"type": _SANDBOX_TYPES[sandbox]}}

    def thread_options(self, mode: ApprovalMode) -> dict[str, Any]:
        """As `thread/start` and `thread/resume` take them."""
        mode = self.in_force(mode)
        approval, sandbox, reviewer = self._words(mode)
        options: dict[str, Any] = {"approvalPolicy": approval, **reviewer}
        if self._is_confined(mode):
            return {**options, "permissions": PROFILE}
        return {**options, "sandbox": sandbox}

    def _words(self, mode: ApprovalMode) -> tuple[str, str, dict[str, str]]:
        """Approval, sandbox and, where somebody has to be named, who reviews."""
        if mode != self.mode:
            return *MODES[mode], {"approvalsReviewer": "user"}
        reviewer = {} if self.reviewer is None else {"approvalsReviewer": self.reviewer}
        return self.approval, self.sandbox, reviewer

    def to_text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "SessionPolicy":
        """Read the file back. Raises ValueError, TypeError on anything else."""
        policy = cls(**json.loads(text))
        if policy.sandbox not in _SANDBOX_TYPES or policy.mode not in MODES:
            raise ValueError(f"unknown sandbox {policy.sandbox!r} or mode {policy.mode!r}")
        return policy

    def _is_confined(self, mode: ApprovalMode) -> bool:
        """Whether the profile takes the sandbox's place."""
        if mode == self.mode and self.is_own:
            return False
        return mode == "read-only" or (mode == "guarded" and self.has_rules)


def without_profile(settings: dict[str, Any]) -> dict[str, Any]:
    """The same for a server that does not know the profile."""
    kept = {name: value for name, value in settings.items() if name != "permissions"}
    return {"sandboxPolicy": {"type": _SANDBOX_TYPES["read-only"]}, **kept}


def is_stricter(mode: ApprovalMode, than: ApprovalMode) -> bool:
    """Whether a mode allows less than another."""
    return _STRICTNESS.index(mode) > _STRICTNESS.index(than)
