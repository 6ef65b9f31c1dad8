"""What waits for a person in a Claude Code session, and when it does not wait any more."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.adapters.base import Answer
from relay_server.wire import AgentStatus, ApprovalMode, Decision
from tests.claude.world import World, running

pytestmark = pytest.mark.anyio

TOUCH = {"command": "touch made", "description": "makes it"}
YES = Answer(decision=Decision.ALLOW)
SOON = 4_000_000_000_000
"""Later than any clock of these tests."""


class Session:
    """A guarded session in the middle of a turn, as its hooks tell of it."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.world.port.approval = ApprovalMode.GUARDED
        self.hooks: dict[str, asyncio.Task[Mapping[str, Any]]] = {}

    async def ask(self, ask_id: str = "q", tool: str = "Bash", **more: Any) -> None:
        """A dialog opens, and its hook waits."""
        self.hooks[ask_id] = asyncio.create_task(
            self.world.hook("PermissionRequest", **self._call(ask_id, tool, more))
        )
        await asyncio.sleep(0)

    async def gate(self, tool: str = "Bash", **more: Any) -> Mapping[str, Any]:
        """The gate asks about a call."""
        return await self.world.hook("PreToolUse", **self._call("", tool, more))

    async def hang_up(self, ask_id: str = "q") -> None:
        """The hook's process ends."""
        await self.world.hook("HungUp", **self._call(ask_id, "Bash", {}))

    def answer(self, answer: Answer, ask_id: str = "q") -> None:
        """A person decides at the relay."""
        self.world.adapter.answer(ask_id, answer)

    async def decision(self, ask_id: str = "q") -> Mapping[str, Any] | None:
        """What the hook printed; None: nothing."""
        async with asyncio.timeout(5):
            output = await self.hooks[ask_id]
        specific = output.get("hookSpecificOutput")
        if specific is None:
            return None
        assert specific["hookEventName"] == "PermissionRequest"
        decision: Mapping[str, Any] = specific["decision"]
        return decision

    async def look(self) -> None:
        """The adapter looks at the session's files, as it does a few times a second."""
        await self.world.adapter._questions._look()

    def told(self, name: str) -> list[Any]:
        """What the port was told under this name, without the name."""
        return [each[1] for each in self.world.port.told if each[0] == name]

    def _call(self, ask_id: str, tool: str, more: Mapping[str, Any]) -> dict[str, Any]:
        call = {"tool_name": tool, "tool_input": TOUCH, "clipped": False}
        return {**call, "ask_id": ask_id, "asked_at_ms": 1000, **more}


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    made = Session(tmp_path)
    await made.world.hook("SessionStart", source="startup")
    await made.world.hook("UserPromptSubmit", prompt="work")
    made.world.port.told.clear()
    yield made
    for hook in made.hooks.values():
        hook.cancel()


async def test_a_question_is_shown_at_the_relay_and_the_session_waits(session: Session) -> None:
    await session.ask()

    assert session.world.port.told == [
        ("status", AgentStatus.WAITING, "Bash"),
        ("asked", "q", "Bash"),
    ]
    assert not session.hooks["q"].done()


async def test_an_allowed_step_runs_and_the_turn_goes_on(session: Session) -> None:
    await session.ask()

    session.answer(YES)

    assert await session.decision() == {"behavior": "allow"}
    assert session.told("status")[-1] is AgentStatus.BUSY
    assert session.told("settled") == []


async def test_a_denial_carries_its_reason_to_the_model(session: Session) -> None:
    await session.ask()

    session.answer(Answer(decision=Decision.DENY, reason="not there"))

    assert await session.decision() == {"behavior": "deny", "message": "not there"}


async def test_a_question_asked_again_by_the_same_hook_is_the_same_one(session: Session) -> None:
    await session.ask()
    first = session.hooks["q"]
    await session.ask()

    session.answer(YES)

    assert await session.decision() == {"behavior": "allow"}
    assert (await first)["hookSpecificOutput"]["decision"] == {"behavior": "allow"}
    assert session.told("asked") == ["q"]


async def test_an_answer_for_the_session_covers_the_same_call_only(session: Session) -> None:
    await session.ask()
    session.answer(Answer(decision=Decision.ALLOW, for_session=True))

    assert await session.gate() == {"allowed": True}
    assert await session.gate(tool_input={**TOUCH, "command": "touch other"}) == {}
    assert await session.gate(tool="Other") == {}
    session.world.port.approval = ApprovalMode.READ_ONLY
    assert await session.gate() == {}


@pytest.mark.parametrize(
    "answer",
    [YES, Answer(decision=Decision.DENY, for_session=True)],
    ids=["allowed once", "denied"],
)
async def test_no_other_answer_is_remembered(session: Session, answer: Answer) -> None:
    await session.ask()
    session.answer(answer)

    assert await session.gate() == {}


async def test_what_could_not_be_told_whole_is_not_remembered(session: Session) -> None:
    await session.ask(clipped=True)
    session.answer(Answer(decision=Decision.ALLOW, for_session=True))

    assert await session.gate(clipped=True) == {}
    assert await session.gate() == {}


async def test_another_conversation_asks_anew(session: Session) -> None:
    await session.ask()
    session.answer(Answer(decision=Decision.ALLOW, for_session=True))

    await session.world.hook("SessionEnd", reason="clear")
    await session.world.hook("SessionStart", source="clear", session_id="s-2")

    assert await session.gate(session_id="s-2") == {}


async def test_a_hook_that_hangs_up_needs_no_answer(session: Session) -> None:
    await session.ask()

    await session.hang_up()
    session.answer(YES)

    assert await session.decision() is None
    assert session.told("settled") == ["q"]


@pytest.mark.parametrize("end", ["Stop", "SessionEnd"])
async def test_a_question_is_over_with_its_turn(session: Session, end: str) -> None:
    await session.ask()

    await session.world.hook(end)

    assert await session.decision() is None
    assert session.told("settled") == ["q"]
    assert session.told("status")[-1] is AgentStatus.IDLE


@pytest.mark.parametrize("status", ["busy", "idle", "shell"])
async def test_an_answer_at_the_terminal_shows_in_the_registry(
    session: Session, status: str
) -> None:
    session.world.register(status="waiting", statusUpdatedAt=1000)
    await session.ask()
    await session.look()
    assert session.told("settled") == []

    session.world.register(status=status, statusUpdatedAt=1001)
    await session.look()

    assert session.told("settled") == ["q"]
    assert await session.decision() is None


async def test_a_dialog_answered_between_two_looks_is_noticed_by_its_time(
    session: Session,
) -> None:
    session.world.register(status="busy", statusUpdatedAt=SOON)

    async with running(session.world.adapter):
        await session.ask()

        assert await session.world.told("settled") == ("settled", "q")


async def test_a_registry_that_lags_behind_answers_nothing(session: Session) -> None:
    session.world.register(status="busy", statusUpdatedAt=999)
    await session.ask()

    await session.look()

    assert session.told("settled") == []


async def test_a_sub_agent_in_the_background_waits_whatever_the_turn_does(
    session: Session,
) -> None:
    await session.ask(agent_id="a1", agent_type="Explore")
    await session.world.hook("Stop")
    session.world.register(status="idle", statusUpdatedAt=SOON)

    await session.look()

    assert session.told("settled") == []
    assert session.told("status")[-1] is AgentStatus.WAITING
    session.answer(YES)
    assert await session.decision() == {"behavior": "allow"}
    assert session.told("status")[-1] is AgentStatus.IDLE


async def test_a_sub_agent_behind_the_main_threads_dialog_was_not_answered_with_it(
    session: Session,
) -> None:
    await session.ask("sub", agent_id="a1")
    await session.ask("main")
    session.world.register(status="waiting", statusUpdatedAt=1001)
    await session.look()

    session.world.register(status="busy", statusUpdatedAt=SOON)
    await session.look()

    assert session.told("settled") == ["main"]


async def test_a_sub_agents_own_dialog_is_answered_like_any_other(session: Session) -> None:
    await session.ask("sub", agent_id="a1")
    session.world.register(status="waiting", statusUpdatedAt=1001)
    await session.look()

    session.world.register(status="busy", statusUpdatedAt=1002)
    await session.look()

    assert session.told("settled") == ["sub"]


async def test_of_several_dialogs_the_one_whose_tool_has_a_result_was_answered(
    session: Session,
) -> None:
    for name in ("one", "two"):
        await session.gate("WebFetch", tool_input={"url": name}, tool_use_id=f"toolu_{name}")
        await session.ask(name, "WebFetch", tool_input={"url": name})
    session.world.register(status="waiting", statusUpdatedAt=SOON)
    result = {"type": "tool_result", "content": "ok", "tool_use_id": "toolu_one"}
    with session.world.transcript.open("a") as file:
        line = {"type": "user", "message": {"content": [result]}}
        file.write(json.dumps(line, separators=(",", ":")) + "\n")

    await session.look()

    assert session.told("settled") == ["one"]
    assert not session.hooks["two"].done()


async def test_an_open_session_is_not_asked_about_at_the_relay(session: Session) -> None:
    session.world.port.approval = ApprovalMode.OPEN

    await session.ask()

    assert session.told("asked") == []
    assert session.told("status") == [AgentStatus.WAITING]
    assert not session.hooks["q"].done()


async def test_an_open_sessions_background_is_left_to_its_dialog_at_once(
    session: Session,
) -> None:
    session.world.port.approval = ApprovalMode.OPEN

    await session.ask(agent_id="a1")

    assert await session.decision() is None


@pytest.mark.parametrize("mode", ["guarded", "read-only"])
async def test_a_mode_tightened_under_an_open_dialog_counts_for_it(
    session: Session, mode: str
) -> None:
    session.world.port.approval = ApprovalMode.OPEN
    await session.ask()

    session.world.port.approval = ApprovalMode(mode)
    session.world.adapter.approval_changed(ApprovalMode(mode))

    if mode == "guarded":
        assert session.told("asked") == ["q"]
        assert not session.hooks["q"].done()
    else:
        assert (await session.decision() or {})["behavior"] == "deny"


async def test_a_question_with_several_answers_is_left_to_the_terminal(session: Session) -> None:
    await session.ask(tool="AskUserQuestion")

    assert session.told("asked") == []
    assert session.told("status") == [AgentStatus.WAITING]


async def test_a_new_daemon_is_asked_by_the_hooks_that_wait(session: Session) -> None:
    session.world.port.told.clear()
    heir = type(session.world.adapter)(session.world.port)
    session.world.adapter = heir

    await session.ask()

    assert session.told("asked") == ["q"]
