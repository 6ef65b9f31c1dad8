"""The pipe against a real socket: it passes, it waits, it outlives the daemon, it ends."""

import asyncio
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from relay_agentd.mcp_pipe import Pipe, encode
from tests.mcp.support import (
    PIPE,
    SESSION,
    MemoryRelay,
    RawClient,
    daemon_end,
    pipe_environment,
    raw_client,
    tool_result,
)

SEND = {"name": "relay_send", "arguments": {"to": "backend", "body": "hello"}}


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_client_of_either_provider_lists_and_calls_tools(tmp_path: Path, version: str) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            hands = await client.shake_hands(version)
            listing = await client.call("tools/list")
            text, is_error = await client.tool("relay_send", to="backend", body="hello")

            assert hands["protocolVersion"] == version
            assert len(listing["tools"]) == 8
            assert (text, is_error) == ("Sent as message 42 to backend (idle, push).", False)
            (hello,) = daemon.hellos
            assert (hello["op"], hello["session"]) == ("mcp", SESSION)
            assert len(hello["instance"]) == 32

    run(scenario())


def test_a_message_of_the_largest_size_passes_in_both_directions(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        body = "\u00e9" * 32768
        relay.inbox = [{"id": 7, "from": "backend", "body": body}]
        async with daemon_end(tmp_path / "c", relay), raw_client(tmp_path / "c") as client:
            await client.shake_hands()
            await client.tool("relay_send", to="backend", body=body)
            text, _ = await client.tool("relay_inbox")

            assert [message["body"] for message in relay.sent.values()] == [body]
            assert body in text

    run(scenario())


def test_the_client_notices_nothing_of_a_restarted_daemon(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()
            await daemon.kill()
            request = client.ask("tools/call", SEND)
            await daemon.start()
            answer = await client.answer(request)

            assert tool_result(answer["result"])[0].startswith("Sent as message 42")
            assert client.notifications == []
            first, second = daemon.hellos
            assert first["instance"] == second["instance"]

    run(scenario())


def test_a_call_the_daemon_died_in_is_answered_by_the_next_one_and_done_once(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        reached = asyncio.Event()

        async def hang() -> None:
            reached.set()
            await asyncio.Event().wait()

        relay.before_submit = hang
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()
            request = client.ask("tools/call", SEND)
            await asyncio.wait_for(reached.wait(), 10)
            await daemon.kill()
            await daemon.start()
            answer = await client.answer(request)

            assert tool_result(answer["result"])[0].startswith("Sent as message 42")
            assert len(relay.sent) == 1

    run(scenario())


def test_mail_taken_by_a_call_the_daemon_died_in_is_not_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        relay.inbox = [{"id": 7, "from": "backend", "body": "once"}]
        take, taken = relay.take_mail, []
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()

            def take_and_die(*args: Any, **named: Any) -> Any:
                taken.append(take(*args, **named))
                if len(taken) == 1:
                    deaths.append(asyncio.get_running_loop().create_task(daemon.kill()))
                    raise asyncio.CancelledError
                return taken[-1]

            deaths: list[asyncio.Task[None]] = []
            relay.take_mail = take_and_die  # type: ignore[method-assign]
            request = client.ask("tools/call", {"name": "relay_inbox", "arguments": {}})
            while not deaths:
                await asyncio.sleep(0.01)
            # The end of the one must not hit the next.
            await deaths[0]
            await daemon.start()
            text, _ = tool_result((await client.answer(request))["result"])

            assert "[msg:7] from backend" in text

    run(scenario())


def test_a_daemon_that_starts_after_the_client_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with raw_client(tmp_path / "c") as client:
            greeting = asyncio.create_task(client.shake_hands())
            await asyncio.sleep(0.3)
            async with daemon_end(tmp_path / "c", relay):
                hands = await greeting
                listing = await client.call("tools/list")

                assert hands["instructions"]
                assert len(listing["tools"]) == 8

    run(scenario())


def test_a_client_without_any_daemon_starts_and_gets_its_tools_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with raw_client(tmp_path / "c") as client:
            started = time.monotonic()
            hands = await client.shake_hands("2025-06-18")
            listing = await client.call("tools/list")
            assert hands["protocolVersion"] == "2025-06-18"
            assert "instructions" not in hands
            assert hands["capabilities"] == {"tools": {"listChanged": True}}
            assert listing == {"tools": []}
            assert time.monotonic() - started < 10

            async with daemon_end(tmp_path / "c", relay):
                told = await client.hear()
                assert told["method"] == "notifications/tools/list_changed"
                assert len((await client.call("tools/list"))["tools"]) == 8

    run(scenario())


def test_a_refused_session_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            daemon.refuse = {"ok": False, "error": {"code": "no_session", "detail": "who?"}}
            greeting = asyncio.create_task(client.shake_hands())
            while len(daemon.hellos) < 3:
                await asyncio.sleep(0.01)
            daemon.refuse = None

            assert (await greeting)["serverInfo"]["name"] == "agent-relay"

    run(scenario())


def test_a_cancelled_call_is_not_sent_to_the_next_daemon(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()
            await daemon.kill()
            dropped = client.ask("tools/call", SEND)
            client.say("notifications/cancelled", {"requestId": dropped})
            kept = client.ask("ping")
            await daemon.start()

            assert (await client.answer(kept))["result"] == {}
            assert relay.sent == {}

    run(scenario())


def test_a_line_that_is_no_json_is_answered_and_nothing_else_happens(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            daemon_end(tmp_path / "c", MemoryRelay()),
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()
            client.write("just a string")
            assert (await client.hear())["error"]["code"] == -32700
            assert await client.call("ping") == {}

    run(scenario())


def test_a_burst_of_calls_is_answered_each_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        relay = MemoryRelay()
        async with (
            daemon_end(tmp_path / "c", relay) as daemon,
            raw_client(tmp_path / "c") as client,
        ):
            await client.shake_hands()
            asked = []
            for number in range(60):
                asked.append(client.ask("tools/call", SEND))
                if number == 30:
                    await daemon.kill()
                    await daemon.start()
            answered = [(await client.hear())["id"] for _ in asked]

            assert sorted(answered) == asked
            assert len(relay.sent) == 60

    run(scenario())


def test_a_daemon_that_hangs_up_at_once_is_tried_ever_more_slowly(tmp_path: Path) -> None:
    async def scenario() -> None:
        greeted: list[float] = []

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            greeted.append(time.monotonic())
            writer.write(b'{"ok":true}\n')
            writer.close()

        async with (
            await asyncio.start_unix_server(hang_up, tmp_path / "c"),
            raw_client(tmp_path / "c"),
        ):
            async with asyncio.timeout(60):
                while len(greeted) < 8:
                    await asyncio.sleep(0.01)

            pauses = [later - before for before, later in itertools.pairwise(greeted)]
            assert pauses[0] < 0.2
            assert pauses[-1] > 0.4

    run(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("with_daemon", [True, False])
def test_the_pipe_ends_at_once_on_a_signal(
    tmp_path: Path, number: signal.Signals, *, with_daemon: bool
) -> None:
    async def scenario() -> None:
        async def signalled(client: RawClient) -> None:
            client.process.send_signal(number)
            assert await asyncio.wait_for(client.process.wait(), 2) == -number

        async with raw_client(tmp_path / "c") as client:
            if not with_daemon:
                client.write("anything")
                await client.hear()
                await signalled(client)
                return
            async with daemon_end(tmp_path / "c", MemoryRelay()):
                await client.shake_hands()
                await signalled(client)

    run(scenario())


@pytest.mark.parametrize("with_daemon", [True, False])
def test_the_pipe_ends_at_once_when_its_client_goes(tmp_path: Path, *, with_daemon: bool) -> None:
    async def scenario() -> None:
        async with raw_client(tmp_path / "c") as client:
            if with_daemon:
                async with daemon_end(tmp_path / "c", MemoryRelay()):
                    await client.shake_hands()
                    assert await client.leave(within=2) == 0
            else:
                client.ask("tools/call", SEND)
                assert await client.leave(within=2) == 0

    run(scenario())


def test_a_client_that_does_not_read_cannot_hold_the_pipe(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(PIPE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=pipe_environment(tmp_path / "c"),
    ) as process:
        assert process.stdin is not None
        # Each line is answered; the answers are many times what the output's buffer holds.
        process.stdin.write(b"?\n" * 20_000)
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.fixture
def ready_pipe() -> Iterator[tuple[Pipe, socket.socket]]:
    """A pipe that is connected to the other end of a socket pair."""
    pipe = Pipe("unused", SESSION)
    pipe.link.socket, daemon = socket.socketpair()
    pipe.link.state = "ready"
    with pipe.link.socket, daemon:
        yield pipe, daemon


def test_after_an_answer_a_lost_daemon_is_looked_for_at_once(
    ready_pipe: tuple[Pipe, socket.socket],
) -> None:
    pipe, daemon = ready_pipe
    pipe.link.attempts = 10
    pipe.from_client(encode({"jsonrpc": "2.0", "id": 1, "method": "ping"}))

    daemon.sendall(encode({"jsonrpc": "2.0", "id": 1, "result": {}}))
    pipe.read_daemon()
    pipe.lost()

    assert pipe.link.next_step - time.monotonic() < 0.1


def test_patience_with_a_lost_daemon_counts_from_its_loss(
    ready_pipe: tuple[Pipe, socket.socket],
) -> None:
    pipe, _ = ready_pipe
    pipe.from_client(encode({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}))
    (request,) = pipe.conversation.waiting.values()
    request.since -= 1000

    pipe.lost()

    assert request.deadline() > time.monotonic()


def test_a_signal_its_parent_ignored_ends_it_all_the_same(tmp_path: Path) -> None:
    shell = f'trap "" HUP INT TERM; exec {sys.executable} -I -S {PIPE}'
    with subprocess.Popen(
        ["/bin/sh", "-c", shell],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=pipe_environment(tmp_path / "c"),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"?\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert process.wait(2) == -signal.SIGHUP


def test_without_a_session_it_says_in_one_line_what_to_do() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(PIPE)],
        capture_output=True,
        env={},
        check=False,
        timeout=10,
    )

    assert ended.returncode == 2
    assert ended.stdout == b""
    assert ended.stderr.decode().splitlines() == ["agent-relay: start this with `relay-agentd mcp`"]


def test_it_is_small_and_ready_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured, and held only to what no loaded machine misses: the budgets are 20 MB, 150 ms."""

    async def scenario() -> None:
        async with daemon_end(tmp_path / "c", MemoryRelay()):
            async with raw_client(tmp_path / "c") as client:
                await client.shake_hands()
            started = time.monotonic()
            async with raw_client(tmp_path / "c") as client:
                await client.shake_hands()
                ready = time.monotonic() - started
                await client.tool("relay_agents")
                resident = psutil.Process(client.process.pid).memory_info().rss / 2**20
        with capsys.disabled():
            print(f"\nMCP pipe: ready in {ready * 1000:.0f} ms, {resident:.1f} MB resident")
        assert resident < 20
        assert ready < 2

    run(scenario())


def test_it_imports_nothing_of_ours_nor_beyond_the_standard_library() -> None:
    code = (
        "import runpy, sys, json\n"
        f"runpy.run_path({str(PIPE)!r})\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, timeout=10
    )

    loaded = set(json.loads(ended.stdout)) - {"__main__"}
    assert loaded <= set(sys.stdlib_module_names)
    assert not loaded & {"asyncio", "threading", "subprocess", "logging", "uuid"}
