"""What the approval modes really stop, on the real program."""

import json
import sys
from pathlib import Path

import pytest

from tests.claude.conftest import Stage
from tests.support.terminal import Terminal
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]

SEND = '[[mcp: relay relay_send {"to": "bob", "body": "hi"}]]'


def turn(stage: Stage, terminal: Terminal, script: str) -> list[str]:
    """Run one scripted turn to its end; what the tools answered."""
    terminal.submit(f"go {script} [[say: turn over]]")
    terminal.wait_for_text("● turn over")
    return stage.answers()


@pytest.fixture
def other_server(stage: Stage) -> None:
    """An MCP server of somebody else's, whose one tool has a side effect."""
    program = Path(__file__).with_name("other_server.py")
    arguments = [str(program), str(stage.home.project / "effect")]
    stage.mcp_config = json.dumps(
        {
            "mcpServers": {
                "other": {"command": sys.executable, "args": arguments, "alwaysLoad": True}
            }
        }
    )


@pytest.mark.parametrize("daemon", ["alive", "dead"])
@pytest.mark.usefixtures("other_server")
def test_read_only_refuses_every_side_effect_and_reads_on(stage: Stage, daemon: str) -> None:
    (stage.home.project / "note.txt").write_text("the note")
    terminal = stage.start("read-only", ["--mcp-config", stage.mcp_config, "--verbose"])
    if daemon == "dead":
        stage.bench.stop_answering()

    answers = turn(
        stage,
        terminal,
        "[[patch: made | text]] [[shell: echo x > made]] [[shell: touch made]]"
        " [[mcp: other act {}]] [[shell: cat note.txt]]",
    )

    assert sorted(path.name for path in stage.home.project.iterdir()) == ["note.txt"]
    assert len(answers) == 5
    assert "the note" in answers[4]


def test_read_only_still_answers_on_the_relay_without_a_prompt(stage: Stage) -> None:
    terminal = stage.start("read-only")

    answers = turn(stage, terminal, SEND)

    assert "sent as message 7" in answers[0]
    assert [call["name"] for call in stage.bench.tool_calls] == ["relay_send"]


def test_read_only_holds_after_the_person_switches_to_another_mode(stage: Stage) -> None:
    terminal = stage.start("read-only", ["--permission-mode", "acceptEdits"])

    turn(stage, terminal, "[[patch: made | text]] [[shell: touch made]] [[shell: mkdir made]]")

    assert list(stage.home.project.iterdir()) == []


def test_read_only_holds_against_a_projects_own_settings(stage: Stage) -> None:
    settings = stage.home.project / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"disableAllHooks": true, "permissions": {"allow": ["Bash"]}}')
    terminal = stage.launch("read-only", ["-p", "go [[shell: touch made]] [[say: turn over]]"])

    assert terminal.exit_status(30) == 0

    assert not (stage.home.project / "made").exists()
    assert "read-only" in stage.answers()[0]


def test_guarded_asks_in_the_terminal_and_runs_what_the_person_allows(stage: Stage) -> None:
    terminal = stage.start("guarded")

    terminal.submit("go [[shell: touch made]] [[say: turn over]]")
    terminal.wait_for_text(r"1\. Yes")
    made = stage.home.project / "made"
    assert not made.exists()
    eventually(lambda: stage.bench.status == "waiting")

    def allowed() -> bool:
        # 2.1.330 takes no key in a dialog's first moments, lest one meant for the prompt answers.
        terminal.press("Enter")
        return made.exists()

    eventually(allowed, 10)
    terminal.wait_for_text("● turn over")


def test_guarded_lets_the_relays_tools_and_mere_reading_pass(stage: Stage) -> None:
    (stage.home.project / "note.txt").write_text("the note")
    terminal = stage.start("guarded")

    answers = turn(stage, terminal, f"{SEND} [[shell: cat note.txt]]")

    assert "sent as message 7" in answers[0]
    assert "the note" in answers[1]


def test_guarded_refuses_when_the_daemon_is_dead(stage: Stage) -> None:
    terminal = stage.start("guarded")
    stage.bench.stop_answering()

    answers = turn(stage, terminal, "[[shell: touch made]]")

    assert "daemon does not answer" in answers[0]
    assert list(stage.home.project.iterdir()) == []


def test_open_works_without_a_prompt_from_us(stage: Stage) -> None:
    terminal = stage.start("open", ["--permission-mode", "acceptEdits"])

    answers = turn(stage, terminal, f"[[patch: made.txt | text]] {SEND}")

    assert Path(stage.home.project / "made.txt").exists()
    assert "sent as message 7" in answers[1]


def test_a_mode_tightened_while_the_session_runs_holds_from_the_next_call(stage: Stage) -> None:
    terminal = stage.start("open", ["--permission-mode", "acceptEdits"])
    (stage.bench.folder / "mode").write_text("read-only")

    answers = turn(stage, terminal, "[[patch: made.txt | text]]")

    assert "read-only" in answers[0]
    assert list(stage.home.project.iterdir()) == []


def test_the_persons_own_rules_add_to_ours(stage: Stage) -> None:
    terminal = stage.start(
        "open",
        [
            "--allowedTools",
            "Bash(touch made)",
            "--permission-mode",
            "dontAsk",
            "--disallowed-tools",
            "Glob",
        ],
    )

    answers = turn(stage, terminal, f"[[shell: touch made]] {SEND}")

    assert (stage.home.project / "made").exists()
    assert "sent as message 7" in answers[1]
