"""The pure rules of approvals, commands and the folders where sessions may be started."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.domain import approval as approvals
from relay_server.domain import command as commands
from relay_server.domain.approval import Approval
from relay_server.domain.command import Command
from relay_server.domain.launch import is_under_any, require_launchable
from relay_server.errors import Conflict, Forbidden, InvalidRequest
from relay_server.wire import ApprovalStatus, CommandKind, CommandStatus, Decision

_ASKED = Approval(id=1, agent_id="a", tool="Bash", summary="ls", created_at=0, expires_at=100)
_COMMAND = Command(
    id=1,
    machine="m",
    kind=CommandKind.LAUNCH,
    agent_id=None,
    input="{}",
    requested_by="operator",
    created_at=0,
    updated_at=0,
)


# -- approvals


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["allow", "deny", "cancel", "wait"]),
            st.integers(min_value=0, max_value=60),
        )
    )
)
def test_an_approval_gets_one_answer_and_keeps_it(steps: list[tuple[str, int]]) -> None:
    approval, now = _ASKED, 0
    for step, passed in steps:
        now += passed
        before = approvals.as_of(approval, now)
        if step == "wait":
            continue
        if before.status is ApprovalStatus.PENDING:
            approval = _answer(approval, step, now)
            assert approval.status is not ApprovalStatus.PENDING
        else:
            with pytest.raises(Conflict, match="already"):
                _answer(approval, step, now)
            assert approvals.as_of(approval, now) == before


def _answer(approval: Approval, step: str, now: int) -> Approval:
    if step == "cancel":
        return approvals.cancel(approval, now)
    return approvals.decide(approval, Decision(step), "operator", now)


def test_an_approval_expires_to_the_millisecond_with_a_denial() -> None:
    just_in_time = approvals.decide(_ASKED, Decision.ALLOW, "operator", 99)
    late = approvals.as_of(_ASKED, 100)

    assert just_in_time.status is ApprovalStatus.ALLOWED
    assert (late.status, late.decision) == (ApprovalStatus.EXPIRED, Decision.DENY)
    assert (late.decided_at, late.decided_by) == (100, None)
    with pytest.raises(Conflict, match="is expired already"):
        approvals.decide(_ASKED, Decision.ALLOW, "operator", 100)


@pytest.mark.parametrize("status", list(ApprovalStatus))
def test_only_a_pending_approval_leads_anywhere(status: ApprovalStatus) -> None:
    assert bool(approvals.NEXT[status]) is (status is ApprovalStatus.PENDING)


# -- commands


@pytest.mark.parametrize("status", list(CommandStatus))
@pytest.mark.parametrize("wanted", commands.REPORTABLE)
def test_a_command_only_moves_forward(status: CommandStatus, wanted: CommandStatus) -> None:
    order = ["pending", "accepted", "running", "done"]
    before = replace(_COMMAND, status=status)
    ended = status in (CommandStatus.DONE, CommandStatus.FAILED)
    forward = not ended and (
        wanted is CommandStatus.FAILED or order.index(wanted) > order.index(status)
    )
    repeats = status is wanted and wanted is not CommandStatus.ACCEPTED
    if forward:
        assert commands.report(before, wanted, 5).status is wanted
    elif repeats:
        assert commands.report(before, wanted, 5, detail="again") is before
    else:
        with pytest.raises(Conflict) as refused:
            commands.report(before, wanted, 5)
        assert refused.value.code == "invalid_transition"


def test_a_launch_learns_its_agent_and_keeps_what_was_said_before() -> None:
    running = commands.report(
        _COMMAND, CommandStatus.RUNNING, 5, agent_id="a", detail="starting", result="{}"
    )
    done = commands.report(running, CommandStatus.DONE, 6, agent_id="b")

    assert (done.agent_id, done.detail, done.result, done.updated_at) == ("a", "starting", "{}", 6)


# -- where sessions may be started


@pytest.mark.parametrize(
    "folder",
    ["/w", "/w/", "/w/project", "/w/./a//b", "/w/a/../b", "/x/../w/a", "C:\\Work\\a", "c:/work/A"],
)
def test_a_folder_under_a_root_is_allowed_however_it_is_spelt(folder: str) -> None:
    assert is_under_any(folder, ["/w", "C:\\work"])


@pytest.mark.parametrize(
    "folder",
    [
        *("/", "/wx", "/w/../etc", "/w/a/../../etc", "//w/a", "w/a", "./w", "", "~/w", "/W/a"),
        *("C:\\", "C:\\workshop", "C:\\work\\..\\x", "D:\\work\\a", "C:work", "\\work"),
        *("\\\\host\\work\\a", "\\\\?\\C:\\work\\..\\x", "/w\0/../etc", "C:/work/../../w"),
    ],
)
def test_any_other_folder_is_not(folder: str) -> None:
    assert not is_under_any(folder, ["/w", "C:\\work", "\\\\?\\C:\\work", "relative", "", "C:"])


@given(st.lists(st.sampled_from(["w", "a", "..", ".", "", "etc"]), max_size=8))
def test_no_way_of_dots_leads_out_of_a_root(parts: list[str]) -> None:
    folder = "/w/" + "/".join(parts)
    reached: list[str] = []
    for part in folder.split("/"):
        if part == "..":
            reached[-1:] = []
        elif part not in ("", "."):
            reached.append(part)

    assert is_under_any(folder, ["/w"]) is (reached[:1] == ["w"])


def test_the_root_of_everything_allows_everything_of_its_system() -> None:
    assert is_under_any("/any/where", ["/"])
    assert not is_under_any("C:\\any", ["/"])


@pytest.mark.parametrize("providers", [[], ["codex", "claude"], [{"name": "codex"}, 7, {}]])
def test_a_provider_must_be_one_that_the_machine_reported(providers: list[object]) -> None:
    report = {"launchRoots": ["/w"], "providers": providers}

    require_launchable(report, "codex", "/w/a")
    if providers:
        with pytest.raises(InvalidRequest):
            require_launchable(report, "other", "/w/a")


@pytest.mark.parametrize("report", [{}, {"launchRoots": []}, {"launchRoots": None}])
def test_a_machine_without_roots_starts_nothing(report: dict[str, object]) -> None:
    with pytest.raises(Forbidden) as refused:
        require_launchable(report, "codex", "/w")

    assert refused.value.code == "launch_disabled"
