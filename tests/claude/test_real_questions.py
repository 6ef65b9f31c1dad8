"""Questions of the real program to a person: at the relay and in the terminal at once."""

from collections.abc import Callable

import pytest

from relay_agentd.adapters.base import Ask
from relay_server.wire import AgentStatus
from tests.claude.conftest import Stage
from tests.support.terminal import Terminal
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

DIALOG = r"1\. Yes"
CURSOR = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"


def asked(stage: Stage, terminal: Terminal, part: str) -> Ask:
    """The question about this step, once both the relay and the terminal show it."""
    ask = eventually(
        lambda: stage.bench.ask_about(part),
        20,
        message=lambda: f"not asked about {part}:\n{terminal.screen()}",
    )
    assert ask is not None
    return ask


def dialog_is_closed(terminal: Terminal) -> bool:
    return "Do you want to" not in terminal.screen()


def test_an_answer_at_the_relay_closes_the_dialog_and_is_remembered_when_it_says_so(
    stage: Stage,
) -> None:
    project = stage.home.project
    terminal = stage.start("guarded")
    terminal.submit(
        "go [[shell: touch one]] [[shell: touch two]] [[shell: rm one]] [[shell: touch one]]"
        " [[say: turn over]]"
    )

    one = asked(stage, terminal, "touch one")
    terminal.wait_for_text(DIALOG)
    assert (one.tool, one.summary, one.input["command"]) == ("Bash", "touch one", "touch one")
    assert stage.bench.status is AgentStatus.WAITING
    assert list(project.iterdir()) == []
    stage.bench.decide(one, "allow", for_session=True)

    two = asked(stage, terminal, "touch two")
    terminal.wait_for_text(r"touch two")
    assert (project / "one").exists()
    stage.bench.decide(two, "deny", "not that file, please")

    stage.bench.decide(asked(stage, terminal, "rm one"), "allow")
    terminal.wait_for_text("● turn over")

    assert dialog_is_closed(terminal)
    assert [path.name for path in project.iterdir()] == ["one"]
    assert "not that file, please" in stage.answers()[1]
    assert [ask.summary for ask in stage.bench.asks] == ["touch one", "touch two", "rm one"]
    assert stage.bench.settlements == []
    eventually(lambda: stage.bench.status is AgentStatus.IDLE)


def press_until(terminal: Terminal, key: str, happened: Callable[[], bool]) -> None:
    """Press it again where it was not taken: 2.1.330 takes none in a dialog's first moments, lest
    one meant for the prompt answers."""

    def pressed() -> bool:
        terminal.press(key)
        eventually(happened, 1)
        return True

    terminal.wait_for_text(DIALOG)
    eventually(pressed, 10, message=terminal.screen)


def say_yes(terminal: Terminal) -> None:
    press_until(terminal, "1", lambda: dialog_is_closed(terminal))


def say_no(terminal: Terminal) -> None:
    press_until(terminal, "2", lambda: dialog_is_closed(terminal))


def break_off(terminal: Terminal) -> None:
    press_until(terminal, "Escape", lambda: dialog_is_closed(terminal))


def say_why_not(terminal: Terminal) -> None:
    press_until(terminal, "Down", lambda: f"{CURSOR} 2. No" in terminal.screen())
    terminal.press("Tab")
    terminal.wait_for_text("No, and")
    terminal.write("because")
    terminal.wait_for_text("because")
    press_until(terminal, "Enter", lambda: dialog_is_closed(terminal))


ANSWERS = [say_yes, say_no, break_off, say_why_not]


def test_an_answer_at_the_terminal_takes_the_question_back_from_the_relay(stage: Stage) -> None:
    terminal = stage.start("guarded")

    for number, answer in enumerate(ANSWERS):
        terminal.submit(f"{number} go [[shell: touch made{number}]] [[say: over {number}]]")
        asked(stage, terminal, f"made{number}")
        answer(terminal)

        eventually(
            lambda: len(stage.bench.settlements) == len(stage.bench.asks),
            3,
            message=lambda: f"still at the relay:\n{terminal.screen()}",
        )
        eventually(lambda: stage.bench.status is AgentStatus.IDLE)

    assert [path.name for path in stage.home.project.iterdir()] == ["made0"]
    assert "because" in stage.answers()[-1]
