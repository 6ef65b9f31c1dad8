"""What a session's policy says to the app-server, in the mode it was launched with and others."""

import json

import pytest

from relay_launchers.base import ApprovalMode
from relay_launchers.codex.policy import MODES, SessionPolicy, without_profile


def launched(mode: ApprovalMode, *, has_rules: bool = False, is_own: bool = False) -> SessionPolicy:
    approval, sandbox = MODES[mode]
    return SessionPolicy(
        mode=mode, approval=approval, sandbox=sandbox, has_rules=has_rules, is_own=is_own
    )


OPEN = {"approvalPolicy": "never", "sandboxPolicy": {"type": "workspaceWrite"}}
GUARDED = {"approvalPolicy": "on-request", "sandboxPolicy": {"type": "readOnly"}}
GUARDED_WITH_RULES = {"approvalPolicy": "on-request", "permissions": "agent-relay"}
READ_ONLY = {"approvalPolicy": "never", "permissions": "agent-relay"}
BY_THE_PERSON = {"approvalsReviewer": "user"}


@pytest.mark.parametrize(
    ("policy", "mode", "settings"),
    [
        (launched("open"), "open", OPEN),
        (launched("open"), "guarded", GUARDED | BY_THE_PERSON),
        (launched("open", has_rules=True), "guarded", GUARDED_WITH_RULES | BY_THE_PERSON),
        (launched("open"), "read-only", READ_ONLY | BY_THE_PERSON),
        (launched("guarded"), "guarded", GUARDED),
        (launched("guarded", has_rules=True), "guarded", GUARDED_WITH_RULES),
        (launched("guarded"), "read-only", READ_ONLY | BY_THE_PERSON),
        (launched("read-only"), "read-only", READ_ONLY),
        # His own words about the sandbox win until somebody tightens the mode.
        (launched("guarded", has_rules=True, is_own=True), "guarded", GUARDED),
        (launched("open", is_own=True), "read-only", READ_ONLY | BY_THE_PERSON),
    ],
)
def test_a_policy_becomes_the_settings_of_a_thread(
    policy: SessionPolicy, mode: ApprovalMode, settings: dict[str, object]
) -> None:
    assert policy.settings(mode) == settings


@pytest.mark.parametrize(
    ("policy", "mode", "is_needed"),
    [
        (launched("open"), "open", False),
        (launched("guarded"), "guarded", False),
        (launched("guarded", has_rules=True), "guarded", True),
        (launched("read-only"), "read-only", True),
        (launched("open"), "guarded", True),
    ],
)
def test_what_the_terminals_flags_say_need_not_be_set(
    policy: SessionPolicy, mode: ApprovalMode, is_needed: bool
) -> None:
    assert policy.must_be_set(mode) is is_needed


@pytest.mark.parametrize(
    ("policy", "before", "mode", "is_broken_off"),
    [
        (launched("open"), None, "guarded", True),
        (launched("open"), "open", "read-only", True),
        (launched("open"), "read-only", "guarded", False),
        (launched("guarded"), None, "guarded", False),
        (launched("read-only"), None, "read-only", False),
        # A turn that was quicker than the profile may run what the rules allow.
        (launched("read-only", has_rules=True), None, "read-only", True),
    ],
)
def test_a_turn_is_broken_off_when_it_may_do_more_than_the_mode(
    policy: SessionPolicy, before: ApprovalMode | None, mode: ApprovalMode, is_broken_off: bool
) -> None:
    assert policy.must_break_off(before, mode) is is_broken_off


def test_a_server_without_the_profile_gets_the_sandbox_instead() -> None:
    settings = without_profile(launched("read-only").settings("read-only"))

    assert settings == {"approvalPolicy": "never", "sandboxPolicy": {"type": "readOnly"}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"mode": "open", "approval": "never", "sandbox": "all"}',
        '{"mode": "lax", "approval": "never", "sandbox": "read-only"}',
    ],
)
def test_a_broken_policy_file_is_no_policy(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        SessionPolicy.from_text(text)


def test_a_policy_survives_its_file() -> None:
    policy = launched("read-only", has_rules=True)

    assert SessionPolicy.from_text(policy.to_text()) == policy
    assert json.loads(policy.to_text())["reviewer"] is None
