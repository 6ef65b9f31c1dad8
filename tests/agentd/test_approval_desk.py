"""A session asks a person: the question stands at the relay until somebody has answered it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay_agentd import approval_desk
from relay_agentd.adapters.base import Ask
from relay_agentd.session import Session
from relay_agentd.store.sessions import SessionKind
from relay_server.wire import ApprovalMode, Decision
from tests.agentd.harness import KEY, DaemonParts, Processes, until, until_async
from tests.support.memory_session import MemoryAdapter, MemorySession
from tests.support.relay_process import RelayProcess

ASK = Ask(id="call-1", tool="Bash", summary="rm -r build", input={"command": "rm -r build"})


@dataclass
class Asking:
    """A guarded session that is on the relay."""

    daemon: DaemonParts
    session: Session
    agent_id: str
    conversation: MemorySession

    @property
    def adapter(self) -> MemoryAdapter:
        adapter = self.session.adapter
        assert isinstance(adapter, MemoryAdapter)
        return adapter

    async def approvals(self, status: str | None = None) -> list[dict[str, Any]]:
        """What the relay shows of this agent's questions."""
        params = {} if status is None else {"status": status}
        answer = (await self.daemon.http.get("/api/approvals", params=params)).json()
        return [each for each in answer["approvals"] if each["agentId"] == self.agent_id]

    async def pending(self) -> dict[str, Any]:
        """The one that waits."""

        async def is_there() -> bool:
            return bool(await self.approvals("pending"))

        await until_async(is_there)
        (found,) = await self.approvals("pending")
        return found

    async def has_status(self, approval_id: int, status: str) -> None:
        """Waits until the relay shows it so."""

        async def is_so() -> bool:
            answer = await self.daemon.http.get(f"/api/approvals/{approval_id}")
            return bool(answer.json()["status"] == status)

        await until_async(is_so)

    async def decide(self, approval_id: int, **decision: Any) -> None:
        """A person's answer at the relay."""
        answer = await self.daemon.http.post(
            f"/api/approvals/{approval_id}/decision", json=decision
        )
        answer.raise_for_status()


@asynccontextmanager
async def _asking(
    relay: RelayProcess, processes: Processes, folder: Path, name: str, **fields: Any
) -> AsyncIterator[Asking]:
    conversation = MemorySession(id=name)
    async with DaemonParts(relay.url, folder, conversation) as daemon:
        launcher, provider = processes.start(), processes.start()
        session = daemon.launch(launcher, provider, approval="guarded", **fields)
        yield Asking(daemon, session, await daemon.online(), conversation)


def test_a_question_is_shown_at_the_relay_and_the_answer_comes_back(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(relay, processes, tmp_path, "asks") as asking:
            asking.session.asked(ASK)
            asking.session.asked(ASK)  # a provider may say it again

            shown = await asking.pending()
            assert (shown["tool"], shown["summary"]) == ("Bash", "rm -r build")
            assert shown["input"] == {"command": "rm -r build"}

            await asking.decide(shown["id"], decision="allow", remember="session")

            answer = await until(lambda: asking.adapter.answers.get("call-1"), within=3.0)
            assert answer.decision is Decision.ALLOW
            assert answer.for_session

    asyncio.run(scenario())


def test_a_denial_brings_the_persons_reason(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(relay, processes, tmp_path, "denied") as asking:
            asking.session.asked(ASK)
            shown = await asking.pending()

            await asking.decide(shown["id"], decision="deny", reason="not today")

            answer = await until(lambda: asking.adapter.answers.get("call-1"), within=3.0)
            assert (answer.decision, answer.reason) == (Decision.DENY, "not today")

    asyncio.run(scenario())


def test_a_question_answered_at_the_terminal_disappears_at_the_relay(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(relay, processes, tmp_path, "at-terminal") as asking:
            asking.session.asked(ASK)
            shown = await asking.pending()

            asking.session.settled("call-1")

            await asking.has_status(shown["id"], "canceled")
            assert asking.adapter.answers == {}

    asyncio.run(scenario())


def test_a_session_that_ends_leaves_no_question(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(relay, processes, tmp_path, "ends") as asking:
            asking.session.asked(ASK)
            shown = await asking.pending()

            await asking.daemon.supervisor.stop_session(KEY, force=True)

            await asking.has_status(shown["id"], "canceled")

    asyncio.run(scenario())


def test_a_new_daemon_asked_again_finds_the_same_approval(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        launcher, provider = processes.start(), processes.start()
        conversation = MemorySession(id="asked-again")
        async with DaemonParts(relay.url, tmp_path, conversation) as first:
            session = first.launch(launcher, provider, approval="guarded")
            asking = Asking(first, session, await first.online(), conversation)
            session.asked(ASK)
            before = await asking.pending()
        async with DaemonParts(relay.url, tmp_path, conversation) as second:
            session = second.supervisor.find(KEY)
            asking = Asking(second, session, await second.online(), conversation)
            session.asked(ASK)

            await asking.decide(before["id"], decision="allow")

            answer = await until(lambda: asking.adapter.answers.get("call-1"), within=5.0)
            assert answer.decision is Decision.ALLOW
            assert len(await asking.approvals()) == 1

    asyncio.run(scenario())


def test_a_question_nobody_asks_any_more_after_a_restart_is_canceled(
    relay: RelayProcess, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_desk, "_STRAY_SECONDS", 0.3)

    async def scenario() -> None:
        launcher, provider = processes.start(), processes.start()
        conversation = MemorySession(id="stray")
        async with DaemonParts(relay.url, tmp_path, conversation) as first:
            session = first.launch(launcher, provider, approval="guarded")
            asking = Asking(first, session, await first.online(), conversation)
            session.asked(ASK)
            before = await asking.pending()
        async with DaemonParts(relay.url, tmp_path, conversation) as second:
            asking = Asking(second, second.supervisor.find(KEY), asking.agent_id, conversation)

            await asking.has_status(before["id"], "canceled")

    asyncio.run(scenario())


def test_a_question_the_relay_canceled_by_itself_is_asked_again(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    """The relay cancels what an agent asked that it takes for offline; the session still waits."""

    async def scenario() -> None:
        async with _asking(relay, processes, tmp_path, "canceled") as asking:
            asking.session.asked(ASK)
            first = await asking.pending()

            await asking.daemon.http.post(f"/api/approvals/{first['id']}/cancel", json={})

            async def is_another() -> bool:
                pending = await asking.approvals("pending")
                return bool(pending) and pending[0]["id"] != first["id"]

            await until_async(is_another)

    asyncio.run(scenario())


def test_a_question_waits_for_a_relay_that_is_away(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(own_relay, processes, tmp_path, "away") as asking:
            own_relay.kill()
            asking.session.asked(ASK)
            await asyncio.sleep(0)
            own_relay.start()

            shown = await asking.pending()
            assert shown["summary"] == "rm -r build"

    asyncio.run(scenario())


def test_without_terminal_and_relay_the_answer_is_no(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval_desk, "UNATTENDED_SECONDS", 0.5)

    async def scenario() -> None:
        async with _asking(own_relay, processes, tmp_path, "unattended") as asking:
            asking.session.change(kind=SessionKind.BACKGROUND)
            own_relay.kill()

            asking.session.asked(ASK)

            answer = await until(lambda: asking.adapter.answers.get("call-1"))
            assert answer.decision is Decision.DENY
            assert "nobody could be asked" in (answer.reason or "")

    asyncio.run(scenario())


def test_tightening_to_read_only_denies_what_waits_and_what_is_asked_later(
    relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(relay, processes, tmp_path, "tightened") as asking:
            asking.session.asked(ASK)
            shown = await asking.pending()

            changed = await asking.daemon.http.patch(
                f"/api/agents/{asking.agent_id}", json={"approvalMode": "read-only"}
            )
            changed.raise_for_status()

            answer = await until(lambda: asking.adapter.answers.get("call-1"))
            assert answer.decision is Decision.DENY
            assert asking.adapter.modes == [ApprovalMode.READ_ONLY]
            await asking.has_status(shown["id"], "canceled")

            later = Ask(id="call-2", tool="Bash", summary="ls")
            asking.session.asked(later)
            assert asking.adapter.answers["call-2"].decision is Decision.DENY

    asyncio.run(scenario())


def test_question_asked_again_while_its_end_is_not_heard_yet_is_asked(
    own_relay: RelayProcess, processes: Processes, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _asking(own_relay, processes, tmp_path, "again") as asking:
            asking.session.asked(ASK)
            first = await asking.pending()
            await asyncio.to_thread(own_relay.kill)
            asking.session.settled(ASK.id)
            asking.session.asked(ASK)
            await asyncio.to_thread(own_relay.start)

            await asking.has_status(first["id"], "canceled")
            second = await asking.pending()
            await asking.decide(second["id"], decision="allow")

            answer = await until(lambda: asking.adapter.answers.get("call-1"), within=40.0)
            assert answer.decision is Decision.ALLOW

    asyncio.run(scenario())
