"""Callbacks: at least once, in order per task, signed, tried again, through restarts."""

from pathlib import Path

import pytest

from relay_server.domain.callback import LIFE_MS
from tests.server.callback_bench import Bench
from tests.support.webhook_receiver import WebhookReceiver

CREATED, CLAIMED, STATUS = "task.created", "task.claimed", "task.status"
HOUR_MS = 3600 * 1000


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


def test_a_redirect_is_not_followed(bench: Bench, receiver: WebhookReceiver) -> None:
    with WebhookReceiver() as elsewhere:
        head = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        receiver.answer = lambda _: [head.encode()]
        bench.add(1, CREATED)
        (callback,) = bench.wait_for_attempts(1, 1)

    assert callback["attempts"][0]["statusCode"] == 307
    assert callback["status"] == "pending"
    assert elsewhere.received == []
