"""Claude Code without a terminal: the real program in the real host, the bench as its daemon."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from relay_agentd.adapters.claude_stream import ClaudeStreamAdapter
from relay_launchers.base import ApprovalMode as Mode
from relay_launchers.base import LaunchRequest
from relay_launchers.claude.plan import ClaudeProvider
from relay_server.wire import AgentStatus, ApprovalMode
from tests.claude.bench import INTRODUCTION, Bench
from tests.claude.conftest import PIPE, Stage
from tests.support.processes import expect_none
from tests.support.providers import MARKER
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]

SEND = '[[mcp: relay relay_send {"to": "bob", "body": "hi"}]]'


class Background:
    """One background session after the other on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.socket = stage.bench.folder / "stream.sock"
        stage.bench.close()
        self.start_daemon()
        self.hosts: list[subprocess.Popen[bytes]] = []

    @property
    def bench(self) -> Bench:
        return self.stage.bench

    @property
    def claude(self) -> psutil.Process:
        """Claude Code itself, the keeper's child."""
        (keeper,) = psutil.Process(self.hosts[-1].pid).children()
        return next(child for child in keeper.children() if "-p" in child.cmdline())

    def start_daemon(self) -> None:
        before = self.stage.bench
        self.stage.bench = Bench(
            before.folder,
            before.cwd,
            before.control,
            lambda port: ClaudeStreamAdapter(port, self.socket),
        )
        # The ids of deliveries are unique for ever.
        self.stage.bench._count = before._count

    def restart_daemon(self) -> None:
        """Another daemon takes over."""
        self.bench.close()
        self.start_daemon()

    def start(
        self, approval: Mode = "open", *, resume: str | None = None, arguments: Sequence[str] = ()
    ) -> str:
        """Start the host; returns the conversation's id, once it is registered."""
        home, before = self.stage.home, len(self.bench.opens)
        plan = ClaudeProvider().plan_background(
            LaunchRequest(
                session_key=self.bench.key,
                folder=self.bench.folder,
                cwd=home.project,
                approval=approval,
                arguments=arguments,
                binary=self.stage.binary,
                control_socket=self.bench.control,
                python=Path(sys.executable),
                pipe=PIPE,
                environment=home.environment(**self.stage.extra),
            ),
            resume=resume,
        )
        for path, content in plan.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        assert plan.socket == self.socket
        self.hosts.append(
            subprocess.Popen(
                plan.host.argv,
                env=dict(plan.host.environment),
                cwd=plan.host.cwd,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        eventually(lambda: len(self.bench.opens) > before, 30)
        assert plan.provider_session_id is not None
        return plan.provider_session_id

    def ask_model(self, text: str) -> None:
        """The first prompt, or another one; until the turn is over."""
        delivery = self.bench.deliver(text, is_mail=False)
        eventually(lambda: delivery in self.bench.proofs, 20)
        eventually(lambda: self.bench.status is AgentStatus.IDLE, 20)

    def expect_nothing_left(self) -> None:
        expect_none(MARKER, str(self.stage.home.path))


@pytest.fixture
def background(stage: Stage) -> Iterator[Background]:
    background = Background(stage)
    yield background
    for host in background.hosts:
        host.terminate()
        host.wait(10)


def test_a_prompt_and_mail_are_answered_and_proved_and_the_tools_work(
    background: Background,
) -> None:
    stage = background.stage
    conversation = background.start()

    background.ask_model(f"hello {SEND} [[say: hello]]")
    delivery = background.bench.deliver(background.bench.mail(1, "see @note.txt [[say: seen]]"))

    eventually(lambda: delivery in background.bench.proofs)
    eventually(lambda: stage.model.message_ids() == [1])
    assert background.bench.opens[0][0] == conversation
    assert background.bench.proofs[delivery] == "stream-json replay"
    assert [call["name"] for call in background.bench.tool_calls] == ["relay_send"]
    told = [text for text in stage.model.main_requests[-1].texts if INTRODUCTION in text]
    assert len(told) == 1


def test_mail_enters_a_running_turn_once_across_a_restart_of_the_daemon(
    background: Background,
) -> None:
    stage = background.stage
    background.start("guarded")
    background.bench.deliver("go [[shell: sleep 3 && touch made]] [[say: done]]", is_mail=False)
    eventually(lambda: background.bench.asks, 20)

    background.restart_daemon()
    (again,) = eventually(lambda: background.bench.asks)
    assert background.bench.status is AgentStatus.WAITING
    background.bench.decide(again, "allow")
    delivery = background.bench.deliver(background.bench.mail(2, "while you work"))

    eventually(lambda: delivery in background.bench.proofs, 15)
    eventually(lambda: background.bench.status is AgentStatus.IDLE)
    assert (stage.home.project / "made").exists()
    assert sum(text.count("[msg:2]") for text in stage.model.user_texts()) == 1


def test_guarded_asks_the_relay_once_for_each_step_and_does_what_it_says(
    background: Background,
) -> None:
    bench, project = background.bench, background.stage.home.project
    background.start("guarded")

    def step(name: str) -> str:
        return bench.deliver(f"go [[shell: touch {name}]] [[say: done]]", is_mail=False)

    def asked(count: int) -> None:
        eventually(lambda: len(bench.asks) == count, 20)
        eventually(lambda: bench.status is AgentStatus.WAITING)

    def over(delivery: str) -> None:
        eventually(lambda: delivery in bench.proofs and bench.status is AgentStatus.IDLE)

    delivery = step("no")
    asked(1)
    assert bench.asks[0].summary == "touch no"
    bench.decide(bench.asks[0], "deny", reason="not on a Sunday")
    over(delivery)
    assert "not on a Sunday" in background.stage.answers()[-1]

    delivery = step("yes")
    asked(2)
    bench.decide(bench.asks[1], "allow", for_session=True)
    over(delivery)
    over(step("yes"))

    bench.change_approval(ApprovalMode.READ_ONLY)
    over(step("late"))
    assert [path.name for path in project.iterdir()] == ["yes"]
    assert len(bench.asks) == 2


@pytest.mark.parametrize("victim", ["bridge", "claude"])
def test_a_killed_session_leaves_nothing_and_goes_on_where_it_was(
    background: Background, victim: str
) -> None:
    stage, bench = background.stage, background.bench
    conversation = background.start("guarded")
    background.ask_model("remember the word apple [[say: I will]]")
    bench.deliver("go [[shell: mkdir made && sleep 20]] [[say: done]]", is_mail=False)
    (ask,) = eventually(lambda: bench.asks, 20)
    bench.decide(ask, "allow")
    eventually((stage.home.project / "made").exists, 20)
    lost = bench.deliver(bench.mail(3, "are you there? [[say: yes]]"))
    eventually(lambda: lost in bench._handed)

    host = background.hosts[-1]
    os.kill(host.pid if victim == "bridge" else background.claude.pid, signal.SIGKILL)
    host.wait(10)
    background.expect_nothing_left()

    assert background.start("guarded", resume=conversation) == conversation
    assert [each for each, _ in bench.opens] == [conversation, conversation]
    eventually(lambda: lost in bench.proofs, 20)
    eventually(lambda: bench.status is AgentStatus.IDLE)
    texts = stage.model.main_requests[-1].texts
    assert sum("word apple" in text for text in texts) == 1
    assert sum("[msg:3]" in text for text in texts) == 1
    assert sum(INTRODUCTION in text for text in texts) == 1
    assert bench.losses == [lost]


def test_one_that_was_killed_before_its_first_message_begins_anew_under_its_id(
    background: Background,
) -> None:
    conversation = background.start()
    background.hosts[-1].terminate()
    background.hosts[-1].wait(10)

    assert background.start(resume=conversation) == conversation

    background.ask_model("hello [[say: hello]]")
