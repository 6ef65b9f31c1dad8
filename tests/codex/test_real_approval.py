"""What a real Codex may do in each approval mode, and that the relay's tools work in all."""

import json
from pathlib import Path

import pytest

from relay_launchers.base import ApprovalMode
from relay_server.wire import AgentStatus
from tests.codex.bench import a_delivery
from tests.codex.conftest import Stage
from tests.support.standin import Recorded
from tests.support.wait import eventually

pytestmark = pytest.mark.real_cli

CALL = '[[mcp: relay relay_send {"to": "backend-agent"}]]'


def outputs(stage: Stage, mark: str) -> str:
    """What the tools answered in the turn that began with a text, once the model has it."""

    def is_answered(request: Recorded) -> bool:
        said = any(mark in text for text in request.texts)
        return said and "function_call_output" in json.dumps(request.body["input"][-1:])

    return json.dumps(stage.model.wait_for(is_answered).body["input"][-1]["output"])


@pytest.mark.parametrize("approval", ["open", "guarded", "read-only"])
def test_the_relay_tools_work_without_a_prompt_in_every_mode(
    stage: Stage, approval: ApprovalMode
) -> None:
    attached = stage.start(approval)

    attached.push(a_delivery(1, f"answer {CALL}"))

    assert "message 7 sent" in outputs(stage, "answer")
    call = {"session": stage.port.key, "arguments": {"to": "backend-agent"}}
    assert [json.loads(line) for line in stage.calls()] == [call]
    assert AgentStatus.WAITING not in [status for status, _ in attached.port.statuses]


def test_open_changes_the_workspace_without_a_prompt(stage: Stage) -> None:
    attached = stage.start("open")

    attached.push(a_delivery(2, "write [[shell: echo done > made.txt]]"))

    eventually((stage.home.project / "made.txt").exists, 20)
    eventually(lambda: attached.port.is_idle)
    assert AgentStatus.WAITING not in [status for status, _ in attached.port.statuses]


def test_read_only_refuses_to_write(stage: Stage) -> None:
    attached = stage.start("read-only")

    attached.push(a_delivery(3, "write [[shell: echo done > made.txt]]"))

    assert "Read-only file system" in outputs(stage, "write")
    assert not (stage.home.project / "made.txt").exists()
    assert AgentStatus.WAITING not in [status for status, _ in attached.port.statuses]


def test_read_only_refuses_to_leave_the_sandbox(stage: Stage) -> None:
    attached = stage.start("read-only")

    attached.push(a_delivery(4, "write [[shellesc: echo done > made.txt]]"))

    outputs(stage, "write")
    eventually(lambda: attached.port.is_idle)
    assert not (stage.home.project / "made.txt").exists()


def test_read_only_reaches_no_network(stage: Stage) -> None:
    attached = stage.start("read-only")
    probe = f"python3 -c 'import urllib.request as u; u.urlopen(\"{stage.model.url}/../healthz\")'"

    attached.push(a_delivery(5, f"reach [[shell: {probe}]]"))

    assert "URLError" in outputs(stage, "reach")
    offered = json.dumps(stage.model.main_requests[-1].body["tools"])
    assert "web_search" not in offered


def test_guarded_asks_in_the_terminal_before_it_writes(stage: Stage) -> None:
    attached = stage.start("guarded")

    attached.push(a_delivery(6, "write [[shellesc: echo done > made.txt]]"))

    eventually(
        lambda: attached.port.statuses[-1] == (AgentStatus.WAITING, "waiting for an approval"),
        20,
    )
    assert not (stage.home.project / "made.txt").exists()
    stage.terminal.wait_for_text(r"Yes, proceed \(y\)")
    made = stage.home.project / "made.txt"

    def is_approved() -> bool:
        # The dialog ignores keys for a moment, lest it catch what was meant for the composer.
        stage.terminal.press("y")
        return made.exists()

    eventually(is_approved, 20, message=stage.terminal.screen)
    eventually(lambda: attached.port.is_idle)


def test_the_persons_own_flags_win(stage: Stage) -> None:
    attached = stage.start("read-only", ["-s", "workspace-write"])

    attached.push(a_delivery(7, "write [[shell: echo done > made.txt]]"))

    eventually((stage.home.project / "made.txt").exists, 20)


def test_add_dir_makes_a_folder_writable(stage: Stage) -> None:
    folder = Path(stage.home.path) / "beside"
    folder.mkdir()
    attached = stage.start("open", ["--add-dir", str(folder)])

    attached.push(a_delivery(8, f"write [[shell: echo done > {folder}/made.txt]]"))

    eventually((folder / "made.txt").exists, 20)


@pytest.mark.parametrize("how", ["by id", "last", "fork"])
def test_a_resumed_session_has_the_mode_it_is_resumed_with(stage: Stage, how: str) -> None:
    attached = stage.start("open")
    attached.push(a_delivery(9, "first"))
    stage.wait_shown(9)
    eventually(lambda: attached.port.is_idle)
    session = attached.port.opens[-1]
    stage.stop()

    arguments = {
        "by id": ["resume", session],
        "last": ["resume", "--last"],
        "fork": ["fork", session],
    }
    attached = stage.start("read-only", arguments[how])
    attached.push(a_delivery(10, "write [[shell: echo done > made.txt]]"))

    assert "Read-only file system" in outputs(stage, "write")
    assert not (stage.home.project / "made.txt").exists()


@pytest.mark.parametrize("how", ["by id", "last", "fork"])
def test_a_prompt_given_with_resume_runs_in_the_new_mode_or_not_at_all(
    stage: Stage, how: str
) -> None:
    attached = stage.start("open")
    attached.push(a_delivery(11, "first"))
    stage.wait_shown(11)
    eventually(lambda: attached.port.is_idle)
    session = attached.port.opens[-1]
    stage.stop()

    prompt = "write [[sleep: 1]] [[shell: echo done > made.txt]]"
    arguments = {
        "by id": ["resume", session, prompt],
        "last": ["resume", "--last", prompt],
        "fork": ["fork", session, prompt],
    }
    attached = stage.start("read-only", arguments[how])
    stage.model.wait_for(lambda request: "write" in request.texts[-1])
    eventually(lambda: attached.port.is_idle, 20)
    attached.push(a_delivery(12, "after"))

    stage.wait_shown(12)
    assert not (stage.home.project / "made.txt").exists()


def test_a_session_resumed_guarded_after_open_asks(stage: Stage) -> None:
    attached = stage.start("open")
    attached.push(a_delivery(15, "first"))
    stage.wait_shown(15)
    eventually(lambda: attached.port.is_idle)
    session = attached.port.opens[-1]
    stage.stop()

    attached = stage.start("guarded", ["resume", session])
    attached.push(a_delivery(16, "write [[shellesc: echo done > made.txt]]"))

    eventually(lambda: attached.port.statuses[-1][0] is AgentStatus.WAITING, 20)
    assert not (stage.home.project / "made.txt").exists()


def test_a_session_resumed_open_after_read_only_may_write_again(stage: Stage) -> None:
    attached = stage.start("read-only")
    attached.push(a_delivery(13, "first"))
    stage.wait_shown(13)
    eventually(lambda: attached.port.is_idle)
    session = attached.port.opens[-1]
    stage.stop()

    attached = stage.start("open", ["resume", session])
    attached.push(a_delivery(14, "write [[shell: echo done > made.txt]]"))

    eventually((stage.home.project / "made.txt").exists, 20)
