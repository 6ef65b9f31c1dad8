"""Callbacks: at least once, in order per task, signed, tried again, through restarts."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_server.domain.callback import LIFE_MS
from relay_server.services import deliverer as deliverer_module
from tests.server.callback_bench import Bench
from tests.support.wait import eventually
from tests.support.webhook_receiver import Received, WebhookReceiver

CREATED, CLAIMED, STATUS = "task.created", "task.claimed", "task.status"
HOUR_MS = 3600 * 1000


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """Takes everything."""
    with WebhookReceiver() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path, receiver: WebhookReceiver) -> Iterator[Bench]:
    """A running deliverer; integration `ci` calls the receiver; tasks 1 to 3."""
    made = Bench(tmp_path)
    made.integration("ci", receiver.url)
    for task_id in (1, 2, 3):
        made.task(task_id)
    yield made.start()
    made.stop()


# -- what is sent


def test_a_callback_says_what_happened_to_which_task(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    bench.add(1, CREATED)

    (received,) = receiver.wait_for(1)

    assert received.json == {
        "event": CREATED,
        "task": {"id": 1, "title": "Größe"},
        "deliveredAt": "2027-01-15T08:00:00.000Z",
    }
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-agent-relay-event"] == CREATED
    assert received.headers["user-agent"].startswith("agent-relay/")
    assert "x-agent-relay-signature" not in received.headers


def test_a_secret_signs_the_bytes_of_the_body(bench: Bench, receiver: WebhookReceiver) -> None:
    bench.integration("ci", receiver.url, secret="s3cret")
    bench.add(1, CREATED)

    (received,) = receiver.wait_for(1)

    assert received.is_signed_with("s3cret")
    assert not received.is_signed_with("other")


def test_each_callback_has_a_delivery_id_that_its_repetitions_keep(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 500 if len(receiver.received) == 1 else 200
    bench.add(1, CREATED, CLAIMED)
    bench.wait_for_attempts(1, 1, 0)
    bench.advance(5_000)

    first, again, second = receiver.wait_for(3)

    assert first.delivery == again.delivery != second.delivery
    assert [c["deliveryId"] for c in bench.of_task(1)] == [first.delivery, second.delivery]


def test_an_integration_without_an_address_is_told_nothing(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    bench.integration("silent", None)

    bench.add(1, CREATED, integration="silent")
    bench.add(1, CREATED, integration="unknown")
    bench.add(2, CREATED)

    receiver.wait_for(1)
    assert bench.of_task(1) == []


def test_a_change_that_is_rolled_back_is_not_told(bench: Bench, receiver: WebhookReceiver) -> None:
    def change() -> None:
        with bench.core.database.write():
            bench.add(1, CREATED)
            raise LookupError

    with pytest.raises(LookupError):
        change()
    bench.add(2, CREATED)

    assert receiver.wait_for(1)[0].step == (2, CREATED)
    assert bench.of_task(1) == []


def test_attempts_are_recorded(bench: Bench, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda _: 503 if len(receiver.received) == 1 else 200
    bench.add(1, CREATED)
    (pending,) = bench.wait_for_attempts(1, 1)
    bench.advance(5_000)

    (delivered,) = bench.wait_until(1, "delivered")

    first = {
        "number": 1,
        "at": "2027-01-15T08:00:00.000Z",
        "statusCode": 503,
        "error": None,
        "durationMs": 0,
    }
    assert (pending["status"], pending["endedAt"], pending["attempts"]) == (
        "pending",
        None,
        [first],
    )
    assert "2027-01-15T08:00:00.500Z" <= pending["nextAttemptAt"] <= "2027-01-15T08:00:01.000Z"
    second = {**first, "number": 2, "at": "2027-01-15T08:00:05.000Z", "statusCode": 200}
    assert delivered["attempts"] == [first, second]
    assert (delivered["nextAttemptAt"], delivered["endedAt"]) == (None, second["at"])


# -- order


def test_a_task_is_told_of_in_order_whatever_fails_on_the_way(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    # Every other request fails: each callback is sent twice.
    receiver.answer = lambda _: 500 if len(receiver.received) % 2 else 200
    events = [f"{STATUS}.{number}" for number in range(6)]
    bench.add(1, *events)

    for count in range(1, 7):
        receiver.wait_for(2 * count - 1)
        bench.wait_for_attempts(1, *[2] * (count - 1), 1, *[0] * (6 - count))
        bench.advance(5_000)

    bench.wait_until(1, *["delivered"] * 6)
    assert [event for _, event in receiver.steps] == [e for event in events for e in (event, event)]


def test_a_task_that_fails_does_not_hold_up_another(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda received: 500 if received.step[0] == 1 else 200
    bench.add(1, CREATED, CLAIMED)

    bench.add(2, CREATED, CLAIMED, STATUS)

    bench.wait_until(2, "delivered", "delivered", "delivered")
    assert [len(c["attempts"]) for c in bench.of_task(1)] == [1, 0]


def test_a_callback_that_waits_for_the_one_before_it_has_no_next_attempt(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 500
    bench.add(1, CREATED)
    bench.add(1, CLAIMED)

    first, second = bench.wait_for_attempts(1, 1, 0)

    assert first["nextAttemptAt"] is not None
    assert (second["status"], second["nextAttemptAt"]) == ("pending", None)


def test_many_tasks_at_once_each_keep_their_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    events = [f"{STATUS}.{number}" for number in range(5)]
    with WebhookReceiver() as receiver:
        bench.integration("ci", receiver.url)
        for task_id in range(1, 31):
            bench.task(task_id)
            bench.add(task_id, *events)
        bench.start()
        steps = [received.step for received in receiver.wait_for(150, within=20)]
        bench.stop()

    for task_id in range(1, 31):
        assert [event for task, event in steps if task == task_id] == events


# -- trying again


def test_retries_come_at_doubling_times(bench: Bench, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda received: 500 if received.step[0] == 1 else 200
    bench.add(1, CREATED)

    for number, seconds in enumerate((1, 2, 4, 8, 16), 1):
        bench.wait_for_attempts(1, number)
        # Not before half of its time: a second task shows that the deliverer has looked.
        bench.advance(seconds * 500 - 1)
        bench.add(2, STATUS)
        bench.wait_until(2, *["delivered"] * number)
        assert len(bench.of_task(1)[0]["attempts"]) == number
        bench.advance(seconds * 500 + 1)

    bench.wait_for_attempts(1, 6)


def test_after_a_day_it_is_given_up_and_the_next_one_goes_on(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda received: 500 if received.step[1] == CREATED else 200
    bench.add(1, CREATED, CLAIMED)
    written_at = bench.clock.now
    number = 0
    while bench.clock.now - written_at < LIFE_MS:
        number += 1
        bench.wait_for_attempts(1, number, 0)
        bench.advance(min(HOUR_MS, written_at + LIFE_MS - bench.clock.now))

    given_up, delivered = bench.wait_until(1, "failed", "delivered")

    assert len(given_up["attempts"]) == number + 1
    assert given_up["attempts"][-1]["at"] == given_up["endedAt"] == "2027-01-16T08:00:00.000Z"
    assert delivered["attempts"][0]["at"] == given_up["endedAt"]


def test_a_receiver_that_says_it_is_gone_is_not_tried_again(
    bench: Bench, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 410
    bench.add(1, CREATED)

    (callback,) = bench.wait_until(1, "failed")

    assert [a["statusCode"] for a in callback["attempts"]] == [410]


def test_a_redirect_is_not_followed(bench: Bench, receiver: WebhookReceiver) -> None:
    with WebhookReceiver() as elsewhere:
        head = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        receiver.answer = lambda _: [head.encode()]
        bench.add(1, CREATED)
        (callback,) = bench.wait_for_attempts(1, 1)

    assert callback["attempts"][0]["statusCode"] == 307
    assert callback["status"] == "pending"
    assert elsewhere.received == []


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
