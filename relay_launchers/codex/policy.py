"""The approval policy of a resumed Codex session, on its way from the plan to the adapter.

Codex refuses approval and sandbox flags when it resumes or forks over `--remote`, and a resumed
thread keeps the policy it had, whatever the app-server was started with. So the plan leaves the
policy as a file in the session's folder, and the adapter sets it over the connection. Pure.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

POLICY_FILE = "codex-policy.json"

# The same three modes as the flag `-s` and as a thread's setting spell them.
_SANDBOX_TYPES = {
    "read-only": "readOnly",
    "workspace-write": "workspaceWrite",
    "danger-full-access": "dangerFullAccess",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePolicy:
    """What a resumed or forked thread must be set to."""

    thread_id: str | None
    """The thread to resume, when the person named it by its id."""
    approval: str
    """As the flag `-a` takes it."""
    sandbox: str
    """As the flag `-s` takes it."""
    reviewer: str | None = None
    """Who answers approval requests instead of the person."""

    @property
    def is_strict(self) -> bool:
        """Whether a turn that began under another policy must not go on."""
        return self.approval != "never" or self.sandbox == "read-only"

    def resume_settings(self) -> dict[str, Any]:
        """As `thread/resume` takes them."""
        return {"approvalPolicy": self.approval, "sandbox": self.sandbox, **self._reviewer()}

    def thread_settings(self) -> dict[str, Any]:
        """As `thread/settings/update` takes them."""
        return {
            "approvalPolicy": self.approval,
            "sandboxPolicy": {"type": _SANDBOX_TYPES[self.sandbox]},
            **self._reviewer(),
        }

    def to_text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "ResumePolicy":
        """Read the file back. Raises ValueError, TypeError on anything else."""
        policy = cls(**json.loads(text))
        if policy.sandbox not in _SANDBOX_TYPES:
            raise ValueError(f"unknown sandbox {policy.sandbox!r}")
        return policy

    def _reviewer(self) -> dict[str, str]:
        return {} if self.reviewer is None else {"approvalsReviewer": self.reviewer}
