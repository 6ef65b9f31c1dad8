"""What the hooks of a session that a person started himself know and do without any daemon."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay_agentd.paths import Paths
from relay_launchers.claude.plugin_files import JOINED_FAILSAFE, JOINED_PROGRAM
from relay_launchers.in_session import sessions_folder


def gate(control: Path, python: str = sys.executable, **environment: str) -> tuple[int, str]:
    """Status and verdict of the gate, run as Claude Code runs it, for a call that writes."""
    words = [python, "-I", "-S", str(JOINED_PROGRAM), "PreToolUse", str(control), "/no/agentd.env"]
    done = subprocess.run(
        ["/bin/sh", "-c", JOINED_FAILSAFE, *words],
        input=json.dumps({"tool_name": "Write", "tool_input": {}, "session_id": "s"}),
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    output = json.loads(done.stdout) if done.stdout else {}
    verdict = output.get("hookSpecificOutput", {}).get("permissionDecision", "")
    return done.returncode, str(verdict)


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """Where a daemon would listen."""
    return tmp_path / "control-01234567.sock"


def mode_is(control: Path, mode: str) -> None:
    """As the daemon writes it for a session of this very process."""
    folder = control.parent / "s-01234567" / f"{os.getpid():06x}0123456700"
    folder.mkdir(parents=True)
    (folder / "mode").write_text(mode)


def test_the_sessions_folder_is_the_daemons(tmp_path: Path) -> None:
    paths = Paths(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path / "run")

    assert sessions_folder(str(paths.control_socket)) == str(paths.sessions)


def test_an_open_session_is_not_gated(control: Path) -> None:
    assert gate(control) == (0, "")


@pytest.mark.parametrize("mode", ["guarded", "read-only", "nonsense"])
def test_without_a_daemon_any_other_mode_denies(control: Path, mode: str) -> None:
    assert gate(control, AGENT_RELAY_APPROVAL=mode) == (0, "deny")


def test_a_profile_that_only_the_daemon_could_read_counts_as_the_strictest(control: Path) -> None:
    assert gate(control, AGENT_RELAY_PROFILE="work") == (0, "deny")


def test_a_gate_that_cannot_start_denies_but_in_an_open_session(control: Path) -> None:
    assert gate(control, "/no/such/python")[0] == 0
    assert gate(control, "/no/such/python", AGENT_RELAY_APPROVAL="guarded")[0] == 2

    mode_is(control, "read-only")

    assert gate(control, "/no/such/python")[0] == 2
