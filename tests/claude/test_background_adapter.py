"""The daemon's side of a background session, against a host that says what a test tells it to."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.adapters import claude_stream
from relay_agentd.adapters.base import Answer, Ask, Delivery, Outcome, WayState
from relay_agentd.adapters.claude_stream import ClaudeStreamAdapter
from relay_launchers.claude.stream import delivery_uuid
from relay_server.wire import AgentStatus, ApprovalMode, Decision, Priority, Reachability

pytestmark = pytest.mark.anyio

MAIL = Delivery(
    id="d-1",
    message_ids=(1,),
    text="Relay mail\n[msg:1] from bob: see @note\n[end of relay mail]",
    priority=Priority.NORMAL,
)
PROMPT = Delivery(id="p-1", message_ids=(), text="/init\nplease", priority=Priority.NORMAL)
UUID = delivery_uuid(MAIL.id)
QUESTION = {
    "type": "control_request",
    "request_id": "q-1",
    "request": {
        "subtype": "can_use_tool",
        "tool_name": "Bash",
        "input": {"command": "touch it", "description": "x"},
    },
}


class Port:
    """A `SessionPort` that writes down what it is told."""

    key = "0123456789abcdef"
    approval = ApprovalMode.GUARDED

    def __init__(self, folder: Path) -> None:
        self.folder = self.cwd = folder
        self.told: list[tuple[Any, ...]] = []

    def introduction(self) -> str:
        return "you are agent é"

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        self.told.append(("opened", provider_session_id))

    def asked(self, ask: Ask) -> None:
        self.told.append(("asked", ask.id, ask.tool, ask.summary))

    def settled(self, ask_id: str) -> None:
        self.told.append(("settled", ask_id))

    def troubled(self, problem: str | None) -> None:
        self.told.append(("troubled", problem))

    def records(self, transcript: Path) -> None:
        self.told.append(("records", transcript))

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        self.told.append(("status", status, detail))

    def reachable(self, reachability: Reachability) -> None:
        self.told.append(("reachable", reachability))

    def proved(self, delivery_id: str, *, via: str) -> None:
        self.told.append(("proved", delivery_id, via))

    def lost(self, delivery_id: str) -> None:
        self.told.append(("lost", delivery_id))

    def ready(self) -> None:
        self.told.append(("ready",))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [each[1:] for each in self.told if each[0] == name]


class Host:
    """A stand-in for the bridge: greets, notes what it hears, says what it is told to."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.greeting: dict[str, Any] = {
            "type": "bridge_hello",
            "pid": os.getpid(),
            "conversation": "s-1",
            "turn": "idle",
            "taken": [],
            "shown": [],
            "questions": [],
        }
        self.open_questions: list[Mapping[str, Any]] = []
        self.takes = True
        self.connections = 0
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.connections += 1
        names = [str(each["request_id"]) for each in self.open_questions]
        self.say(**{**self.greeting, "questions": names})
        for question in self.open_questions:
            self.say(**question)
        with suppress(OSError):
            while line := await reader.readline():
                message = json.loads(line)
                self.heard.append(message)
                if message["type"] == "user" and self.takes:
                    self.say(type="bridge_taken", uuid=message["uuid"])
        writer.close()

    def say(self, **message: Any) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps(message).encode() + b"\n")

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.transport.abort()

    def answers(self) -> list[dict[str, Any]]:
        return [each["response"] for each in self.heard if each["type"] == "control_response"]


class World:
    """One adapter, its port, its host, and a transcript."""

    def __init__(self, root: Path) -> None:
        self.socket = Path(os.environ["XDG_RUNTIME_DIR"]) / "s.sock"
        self.transcript = root / "s-1.jsonl"
        folder = root / "session"
        folder.mkdir()
        self.port = Port(folder)
        self.host = Host()
        self.adapter = ClaudeStreamAdapter(self.port, self.socket)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the host there, and the adapter connected to it."""
        server = await asyncio.start_unix_server(self.host.serve, str(self.socket))
        task = asyncio.create_task(self.adapter.run())
        try:
            await self.until(lambda: self.port.of("ready"))
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            server.close()

    async def until(self, condition: Any) -> Any:
        async with asyncio.timeout(5):
            while not (value := condition()):
                await asyncio.sleep(0.005)
        return value

    async def told(self, name: str, *fields: Any) -> None:
        await self.until(lambda: fields in self.port.of(name))

    async def reconnected(self) -> None:
        """The host hangs up, and is connected to again."""
        before = self.host.connections
        self.host.hang_up()
        await self.until(lambda: self.host.connections > before)

    async def start_session(self, **payload: Any) -> Mapping[str, Any]:
        return await self.hook("SessionStart", source="startup", **payload)

    async def hook(self, event: str, pid: int | None = None, **payload: Any) -> Mapping[str, Any]:
        told = {
            "session_id": "s-1",
            "cwd": "/home/me/shop",
            "transcript_path": str(self.transcript),
            **payload,
        }
        return await self.adapter.hook(event, told, {"CLAUDE_PID": str(pid or os.getpid())})

    def write(self, *entries: Mapping[str, Any]) -> None:
        self.transcript.write_text(
            "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in entries)
        )


@pytest.fixture
def anyio_backend() -> str:
    """The daemon's loop is asyncio's."""
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- mail ---


async def test_nothing_is_pushed_before_the_host_is_there(world: World) -> None:
    assert await world.adapter.push(MAIL) is Outcome.NOT_NOW


async def test_mail_is_handed_over_once_the_host_took_it_and_proved_when_shown(
    world: World,
) -> None:
    async with world.running():
        assert await world.adapter.push(MAIL) is Outcome.HANDED
        world.adapter.outstanding([MAIL])
        world.host.say(type="bridge_shown", uuid=UUID)

        await world.told("proved", "d-1", "stream-json replay")
        (way,) = world.adapter.ways()
        assert (way.name, way.state) == ("stream-json", WayState.PROVED)


async def test_the_last_line_of_mail_is_a_block_of_its_own_so_that_no_path_in_it_is_read(
    world: World,
) -> None:
    async with world.running():
        await world.adapter.push(MAIL)
        await world.adapter.push(PROMPT)

        mail, prompt = (each["message"]["content"] for each in world.host.heard)
        assert [block["text"] for block in mail] == [
            "Relay mail\n[msg:1] from bob: see @note",
            "[end of relay mail]",
        ]
        # The user's own words mean what they mean at a terminal.
        assert prompt == "/init\nplease"


async def test_a_proof_that_overtakes_the_answer_counts_once(world: World) -> None:
    world.host.takes = False
    async with world.running():
        pushing = asyncio.create_task(world.adapter.push(MAIL))
        await world.until(lambda: world.host.heard)
        world.host.say(type="bridge_shown", uuid=UUID)
        world.host.say(type="bridge_taken", uuid=UUID)

        assert await pushing is Outcome.HANDED
        world.host.say(type="bridge_shown", uuid=UUID)
        world.adapter.outstanding([])
        await world.told("proved", "d-1", "stream-json replay")
        assert len(world.port.of("proved")) == 1


@pytest.mark.parametrize(
    ("taken", "shown", "found"), [([], [], False), ([UUID], [], True), ([UUID], [UUID], True)]
)
async def test_after_a_broken_push_the_next_greeting_tells_what_arrived(
    world: World, taken: list[str], shown: list[str], found: bool
) -> None:
    world.host.takes = False
    async with world.running():
        await world.start_session()
        pushing = asyncio.create_task(world.adapter.push(MAIL))
        await world.until(lambda: world.host.heard)
        world.host.greeting |= {"taken": taken, "shown": shown}
        await world.reconnected()

        assert await pushing is Outcome.UNKNOWN
        await world.until(lambda: len(world.port.of("ready")) > 2)
        assert await world.adapter.find_evidence(MAIL) is found


async def test_a_host_that_hangs_is_hung_up_on_so_that_its_next_greeting_is_the_truth(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_stream, "TAKEN_SECONDS", 0.05)
    world.host.takes = False
    async with world.running():
        assert await world.adapter.push(MAIL) is Outcome.UNKNOWN
        assert await world.adapter.find_evidence(MAIL) is None

        await world.until(lambda: world.host.connections == 2)


async def test_what_was_shown_while_the_daemon_was_away_is_proved_by_the_greeting(
    world: World,
) -> None:
    world.adapter.outstanding([MAIL])
    world.host.greeting |= {"taken": [UUID], "shown": [UUID]}

    async with world.running():
        await world.told("proved", "d-1", "stream-json replay")


async def test_what_died_with_claude_code_is_lost_once_the_conversation_is_known(
    world: World,
) -> None:
    world.adapter.outstanding([MAIL])
    world.write({"type": "queue-operation", "operation": "enqueue", "content": MAIL.text})

    async with world.running():
        assert await world.adapter.find_evidence(MAIL) is None
        assert world.port.of("lost") == []
        await world.start_session()

        await world.told("lost", "d-1")


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "user", "uuid": UUID, "message": {"content": "x"}},
        {"type": "attachment", "attachment": {"type": "queued_command", "source_uuid": UUID}},
    ],
)
async def test_what_died_with_the_host_and_is_in_the_transcript_is_proved(
    world: World, entry: Mapping[str, Any]
) -> None:
    world.adapter.outstanding([MAIL])
    world.write({"type": "user", "uuid": "other"}, entry)

    async with world.running():
        await world.start_session()

        await world.told("proved", "d-1", "transcript")


# --- questions ---


async def test_a_question_waits_for_the_relay_and_its_answer_goes_back(world: World) -> None:
    async with world.running():
        world.host.say(**QUESTION)
        await world.told("asked", "q-1", "Bash", "touch it")
        assert world.port.of("status")[-1] == (AgentStatus.WAITING, "Bash")

        world.adapter.answer("q-1", Answer(decision=Decision.ALLOW))

        await world.until(world.host.answers)
        assert world.host.answers() == [
            {
                "subtype": "success",
                "request_id": "q-1",
                "response": {
                    "behavior": "allow",
                    "updatedInput": {"command": "touch it", "description": "x"},
                },
            }
        ]
        assert world.port.of("status")[-1] == (AgentStatus.IDLE, None)


async def test_a_denial_tells_the_model_why(world: World) -> None:
    async with world.running():
        world.host.say(**QUESTION)
        await world.until(lambda: world.port.of("asked"))

        world.adapter.answer("q-1", Answer(decision=Decision.DENY, reason="not today"))

        (answer,) = await world.until(world.host.answers)
        assert answer["response"] == {"behavior": "deny", "message": "not today"}


async def test_what_is_allowed_for_the_session_is_asked_once_until_the_mode_changes(
    world: World,
) -> None:
    async with world.running():
        world.host.say(**QUESTION)
        await world.until(lambda: world.port.of("asked"))
        world.adapter.answer("q-1", Answer(decision=Decision.ALLOW, for_session=True))

        world.host.say(**{**QUESTION, "request_id": "q-2"})
        await world.until(lambda: len(world.host.answers()) == 2)
        assert len(world.port.of("asked")) == 1

        world.adapter.approval_changed(ApprovalMode.GUARDED)
        world.host.say(**{**QUESTION, "request_id": "q-3"})
        await world.told("asked", "q-3", "Bash", "touch it")


async def test_an_open_question_is_asked_again_under_its_name_after_a_new_connection(
    world: World,
) -> None:
    world.host.open_questions = [QUESTION]
    async with world.running():
        await world.until(lambda: world.port.of("asked"))
        await world.reconnected()
        await world.until(lambda: len(world.port.of("asked")) == 2)

    assert {each[0] for each in world.port.of("asked")} == {"q-1"}
    assert world.port.of("settled") == []


async def test_an_answer_given_while_the_host_is_away_is_not_lost(world: World) -> None:
    world.host.open_questions = [QUESTION]
    async with world.running():
        await world.until(lambda: world.port.of("asked"))
        world.host.hang_up()
        await world.until(lambda: world.port.of("reachable")[-1:] == [(Reachability.NONE,)])

        world.adapter.answer("q-1", Answer(decision=Decision.ALLOW))

        (answer,) = await world.until(world.host.answers)
        assert answer["response"]["behavior"] == "allow"


@pytest.mark.parametrize("while_away", [False, True])
async def test_a_question_that_is_taken_back_is_settled(world: World, while_away: bool) -> None:
    world.host.open_questions = [QUESTION]
    async with world.running():
        await world.until(lambda: world.port.of("asked"))

        world.host.open_questions = []
        if while_away:
            world.host.hang_up()
        else:
            world.host.say(type="control_cancel_request", request_id="q-1")

        await world.told("settled", "q-1")
        world.adapter.answer("q-1", Answer(decision=Decision.ALLOW))
        assert world.port.of("status")[-1] == (AgentStatus.IDLE, None)
    assert world.host.answers() == []


async def test_a_request_that_is_no_question_is_refused_and_holds_nobody_up(world: World) -> None:
    async with world.running():
        world.host.say(type="control_request", request_id="q-1", request={"subtype": "elicit"})

        (answer,) = await world.until(world.host.answers)
        assert (answer["subtype"], answer["request_id"]) == ("error", "q-1")
        assert world.port.of("asked") == []


async def test_a_mode_changed_while_the_host_is_away_is_set_when_it_is_back(world: World) -> None:
    world.adapter.approval_changed(ApprovalMode.READ_ONLY)

    async with world.running():
        (change,) = await world.until(lambda: world.host.heard)

    assert change["request"] == {"subtype": "set_permission_mode", "mode": "dontAsk"}


# --- what the session tells ---


async def test_the_turn_says_whether_the_session_works(world: World) -> None:
    async with world.running():
        world.host.say(type="bridge_turn", turn="busy", problem=None)
        await world.told("status", AgentStatus.BUSY, None)

        world.host.say(type="bridge_turn", turn="idle", problem="no credit")
        await world.told("status", AgentStatus.IDLE, "no credit")
        assert world.port.of("troubled") == [("no credit",)]


async def test_a_session_that_starts_is_opened_recorded_and_introduced(world: World) -> None:
    async with world.running():
        output = await world.start_session()

    assert world.port.of("opened") == [("s-1",)]
    assert world.port.of("records") == [(world.transcript,)]
    assert output["hookSpecificOutput"]["additionalContext"] == "you are agent é"


async def test_a_resumed_session_is_introduced_unless_it_knows(world: World) -> None:
    assert await world.hook("SessionStart", source="resume") != {}

    world.write({"type": "attachment", "attachment": {"content": ["you are agent é"]}})
    assert await world.hook("SessionStart", source="resume") == {}
    # Its context was cut down, and the introduction with it.
    assert await world.hook("SessionStart", source="compact") != {}


async def test_the_hooks_that_ask_leave_the_question_to_the_pipe(world: World) -> None:
    await world.start_session()

    outputs: Iterable[Mapping[str, Any]] = [
        await world.hook(event, tool_name="Bash") for event in ("PreToolUse", "PermissionRequest")
    ]

    assert list(outputs) == [{}, {}]
    assert world.port.of("asked") == []


async def test_another_process_does_not_speak_for_the_session(world: World) -> None:
    await world.start_session()

    output = await world.hook("SessionStart", pid=os.getppid(), session_id="s-2", source="startup")

    assert output == {}
    assert world.port.of("opened") == [("s-1",)]


async def test_a_session_whose_start_no_daemon_heard_is_introduced_with_its_first_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_stream, "HOOK_SECONDS", 0.01)
    async with world.running():
        await world.told("opened", "s-1")
        await world.adapter.push(PROMPT)
        world.host.say(type="bridge_shown", uuid=delivery_uuid(PROMPT.id))
        await world.until(lambda: world.port.of("proved"))
        await world.adapter.push(MAIL)

    first, second = (json.dumps(each["message"], ensure_ascii=False) for each in world.host.heard)
    assert "you are agent é" in first
    assert "you are agent é" not in second


async def test_a_new_daemon_finds_the_conversation_written_down(world: World) -> None:
    await world.start_session()

    world.adapter = ClaudeStreamAdapter(world.port, world.socket)
    async with world.running():
        await world.told("reachable", Reachability.PUSH)
        await world.adapter.push(MAIL)

    assert len(world.port.of("opened")) == 1


async def test_a_daemon_that_stops_does_not_say_that_the_session_is_out_of_reach(
    world: World,
) -> None:
    async with world.running():
        await world.start_session()

    assert (Reachability.NONE,) not in world.port.of("reachable")
