"""Callbacks when receivers, integrations, the relay or its database do not behave."""

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay_server.services import deliverer as deliverer_module
from tests.server.callback_bench import Bench
from tests.support.wait import eventually
from tests.support.webhook_receiver import Received, WebhookReceiver

CREATED, CLAIMED = "task.created", "task.claimed"


# -- receivers that do not behave


def test_a_connection_that_ends_without_an_answer_is_a_failure(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: () if len(receiver.received) == 1 else 200
    bench.add(1, CREATED)
    (callback,) = bench.wait_for_attempts(1, 1)
    bench.advance(5_000)

    bench.wait_until(1, "delivered")

    assert (callback["attempts"][0]["statusCode"], callback["attempts"][0]["error"]) == (
        None,
        "no_answer",
    )


def test_nobody_listening_is_a_failure(bench: Bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bench.integration("ci", f"http://127.0.0.1:{probe.getsockname()[1]}/")
        bench.add(1, CREATED)

        (callback,) = bench.wait_for_attempts(1, 1)

    assert callback["attempts"][0]["error"] == "unreachable"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::1", "no address", "http://"])
def test_an_address_that_is_none_is_a_failure(bench: Bench, url: str) -> None:
    bench.integration("ci", url)
    bench.add(1, CREATED)

    (callback,) = bench.wait_for_attempts(1, 1)

    assert callback["attempts"][0]["error"] == "invalid_url"


def test_a_receiver_that_talks_no_tls_is_a_failure(bench: Bench, receiver: WebhookReceiver) -> None:
    bench.integration("ci", receiver.url.replace("http:", "https:"))
    bench.add(1, CREATED)

    (callback,) = bench.wait_for_attempts(1, 1)

    assert callback["attempts"][0]["error"] == "tls_failed"


def test_a_slow_answer_is_waited_for(bench: Bench, receiver: WebhookReceiver) -> None:
    may_answer = threading.Event()
    receiver.answer = lambda _: 200 if may_answer.wait(20) else 500
    bench.add(1, CREATED)
    receiver.wait_for(1)
    bench.advance(9_999)
    assert bench.of_task(1)[0]["attempts"] == []

    may_answer.set()

    (callback,) = bench.wait_until(1, "delivered")
    assert callback["attempts"][0]["durationMs"] == 9_999


def test_an_answer_that_takes_too_long_is_cut_also_when_it_drips(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    is_over = threading.Event()

    def drip(_: Received) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while not is_over.wait(0.01):
            yield b"X-Slow: 1\r\n"

    receiver.answer = drip
    bench.add(1, CREATED)
    receiver.wait_for(1)
    bench.advance(10_000)

    (callback,) = bench.wait_for_attempts(1, 1)

    is_over.set()
    assert callback["attempts"][0]["error"] == "timeout"
    assert callback["attempts"][0]["durationMs"] == 10_000


def test_the_body_of_an_answer_is_not_waited_for(bench: Bench, receiver: WebhookReceiver) -> None:
    is_over = threading.Event()

    def endless(_: Received) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        while not is_over.wait(0.01):
            yield b"x" * 100

    receiver.answer = endless
    bench.add(1, CREATED)

    bench.wait_until(1, "delivered")
    is_over.set()


def test_cookies_are_not_kept(bench: Bench, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda _: [b"HTTP/1.1 204 OK\r\nSet-Cookie: a=b; Path=/\r\n\r\n"]
    bench.add(1, CREATED, CLAIMED)

    _, second = receiver.wait_for(2)

    assert "cookie" not in second.headers


def test_a_slow_receiver_does_not_delay_another_integration(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    may_answer = threading.Event()
    with WebhookReceiver(lambda _: 200 if may_answer.wait(20) else 500) as slow:
        bench.integration("slow", slow.url)
        for task_id in range(100, 120):
            bench.task(task_id)
            bench.add(task_id, CREATED, integration="slow")
        slow.wait_for(4)

        bench.add(1, CREATED, CLAIMED)
        bench.add(2, CREATED, CLAIMED)

        bench.wait_until(1, "delivered", "delivered")
        bench.wait_until(2, "delivered", "delivered")
        # Of twenty that are due, only so many wait there.
        assert len(slow.received) == deliverer_module._MOST_OF_ONE
        may_answer.set()
        slow.wait_for(20)


# -- integrations that change


def test_what_waits_for_a_removed_integration_fails_with_that_reason(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 500
    bench.add(1, CREATED, CLAIMED)
    bench.wait_for_attempts(1, 1, 0)
    del bench.integrations["ci"]
    bench.advance(5_000)

    callbacks = bench.wait_until(1, "failed", "failed")

    assert [c["attempts"][-1]["error"] for c in callbacks] == ["integration_removed"] * 2
    assert len(receiver.received) == 1


def test_what_waits_for_an_integration_that_lost_its_address_fails_with_that_reason(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 500
    bench.add(1, CREATED)
    bench.wait_for_attempts(1, 1)
    bench.integration("ci", None)
    bench.advance(5_000)

    (callback,) = bench.wait_until(1, "failed")

    assert callback["attempts"][-1]["error"] == "no_callback_url"


def test_a_task_that_is_removed_takes_its_callbacks_along(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    may_answer = threading.Event()
    receiver.answer = lambda _: 200 if may_answer.wait(20) else 500
    bench.add(1, CREATED, CLAIMED)
    receiver.wait_for(1)
    with bench.core.database.write() as transaction:
        transaction.run("DELETE FROM tasks WHERE id = 1")
    may_answer.set()
    bench.add(2, CREATED)

    bench.wait_until(2, "delivered")

    assert bench.of_task(1) == []
    assert receiver.steps == [(1, CREATED), (2, CREATED)]


# -- restarts


def test_a_restart_goes_on_where_it_was(bench: Bench, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda _: 500
    bench.add(1, CREATED, CLAIMED)
    bench.wait_for_attempts(1, 1, 0)
    bench.restart()
    receiver.answer = lambda _: 200
    assert len(receiver.received) == 1
    bench.advance(5_000)

    first, _ = bench.wait_until(1, "delivered", "delivered")

    assert [a["number"] for a in first["attempts"]] == [1, 2]
    assert receiver.steps == [(1, CREATED), (1, CREATED), (1, CLAIMED)]


def test_what_was_written_while_nothing_ran_is_sent_at_the_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.task(1)
    with WebhookReceiver() as receiver:
        bench.integration("ci", receiver.url)
        bench.add(1, CREATED)
        bench.restart()

        receiver.wait_for(1)
        bench.stop()


def test_an_attempt_that_a_stop_cuts_is_made_again_and_is_no_failure(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    may_answer = threading.Event()
    receiver.answer = lambda _: 200 if may_answer.wait(20) else 500
    bench.add(1, CREATED)
    receiver.wait_for(1)

    began = time.monotonic()
    bench.restart()
    took = time.monotonic() - began
    may_answer.set()

    (callback,) = bench.wait_until(1, "delivered")
    assert took < 5
    assert [a["number"] for a in callback["attempts"]] == [1]
    first, again = receiver.received
    assert first.delivery == again.delivery


def test_a_stop_lets_an_attempt_end_that_is_about_to(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    stops = threading.Event()
    receiver.answer = lambda _: 200 if stops.wait(20) else 500
    bench.add(1, CREATED)
    receiver.wait_for(1)
    bench.service.deliverer.close()
    stops.set()
    bench.restart()

    bench.wait_until(1, "delivered")
    assert len(receiver.received) == 1


def test_waiting_costs_nothing(bench: Bench, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda received: 500 if received.step[0] == 1 else 200
    bench.add(1, CREATED)
    bench.wait_for_attempts(1, 1)
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("callback-")])
    before = bench.clock.readings

    bench.add(2, CREATED)
    bench.wait_until(2, "delivered")

    # Whoever looks at the time again and again does it thousands of times meanwhile.
    assert bench.clock.readings - before < 20


def test_a_result_waits_for_a_database_that_another_program_holds(
    tmp_path: Path,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("relay_server.store.database._BUSY_SECONDS", 0.05)
    monkeypatch.setattr("relay_server.services.deliverer._RETRY_SECONDS", 0.05)
    bench = Bench(tmp_path)
    bench.integration("ci", receiver.url)
    bench.task(1)
    bench.add(1, CREATED, CLAIMED)
    with closing(sqlite3.connect(bench.core.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        bench.start()
        receiver.wait_for(1)
        eventually(lambda: "does not answer" in caplog.text)
        other.execute("ROLLBACK")

    bench.wait_until(1, "delivered", "delivered")
    bench.stop()
    # It was not sent again meanwhile.
    assert receiver.steps == [(1, CREATED), (1, CLAIMED)]
