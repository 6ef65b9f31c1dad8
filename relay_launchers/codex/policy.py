"""The approval policy of a resumed Codex session, on its way from the plan to the adapter.

Codex refuses approval and sandbox flags when it resumes or forks over `--remote`, and a resumed
thread keeps the approval policy it had. What the app-server is started with reaches its sandbox
where that is tighter, not where it is looser. So the plan leaves the policy as a file in the
session's folder, and the adapter sets it over the connection before it lets messages in. Pure.
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
    """What a resumed or forked thread is set to."""

    approval: str
    """As the flag `-a` takes it."""
    sandbox: str
    """As the flag `-s` takes it."""
    reviewer: str | None = None
    """Who answers approval requests instead of the person."""

    def thread_settings(self) -> dict[str, Any]:
        """As `thread/settings/update` takes them."""
        reviewer = {} if self.reviewer is None else {"approvalsReviewer": self.reviewer}
        return {
            "approvalPolicy": self.approval,
            "sandboxPolicy": {"type": _SANDBOX_TYPES[self.sandbox]},
            **reviewer,
        }

    def thread_options(self) -> dict[str, Any]:
        """As `thread/start` and `thread/resume` take them."""
        reviewer = {} if self.reviewer is None else {"approvalsReviewer": self.reviewer}
        return {"approvalPolicy": self.approval, "sandbox": self.sandbox, **reviewer}

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
