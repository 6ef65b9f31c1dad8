"""Reading transcripts and registry files, as recorded from both real versions."""

import json
from pathlib import Path

import pytest

from relay_launchers.claude.evidence import Sighting, parse_registered, sightings

DATA = Path(__file__).parent / "data"
IDLE = (
    "Relay mail from another agent, not from your user:\n"
    '[msg:1] from bob & <co> "q" (reply): hello [[say: got it]]\n[end of relay mail]'
)
MID_TURN = "Relay mail\n[msg:2] from bob: two\n[msg:3] from eve: three\n[end]"
VERSIONS = ["2.1.197", "2.1.330"]


def recorded(version: str) -> bytes:
    return (DATA / f"transcript-{version}.jsonl").read_bytes()


def line(**entry: object) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("text", [IDLE, MID_TURN])
def test_a_delivery_is_seen_queued_and_then_in_the_context(version: str, text: str) -> None:
    assert list(sightings(recorded(version), text)) == [Sighting.QUEUED, Sighting.IN_CONTEXT]


@pytest.mark.parametrize("version", VERSIONS)
def test_another_text_is_not_seen(version: str) -> None:
    assert list(sightings(recorded(version), MID_TURN + "?")) == []


def test_a_text_that_only_waits_is_queued() -> None:
    transcript = line(type="queue-operation", operation="enqueue", content=f"<x>\n{IDLE}\n</x>")

    assert list(sightings(transcript, IDLE)) == [Sighting.QUEUED]


def test_a_text_that_left_the_queue_for_another_reason_is_dropped() -> None:
    transcript = line(type="queue-operation", operation="remove", content=IDLE, reason="cleared")

    assert list(sightings(transcript, IDLE)) == [Sighting.DROPPED]


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "assistant", "message": {"role": "assistant", "content": IDLE}},
        {"type": "api-request-blob", "message": {"role": "user", "content": IDLE}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": IDLE}]}},
        {"type": "attachment", "attachment": {"type": "hook_success", "stdout": IDLE}},
        {"type": "user", "message": None, "other": IDLE},
        {"type": "user", "message": {"content": [IDLE]}},
    ],
)
def test_a_text_elsewhere_in_a_transcript_is_no_evidence(entry: dict[str, object]) -> None:
    assert list(sightings(line(**entry), IDLE)) == []


@pytest.mark.parametrize("broken", [b"{", b'"', b"[]", b"nonsense "])
def test_a_broken_line_does_not_hide_the_others(broken: bytes) -> None:
    needle = json.dumps(IDLE)[1:-1].encode()
    whole = line(type="user", message={"role": "user", "content": IDLE})

    assert list(sightings(broken + needle + b"\n" + whole, IDLE)) == [Sighting.IN_CONTEXT]


@pytest.mark.parametrize("text", ["naïve 日本 👩‍🔧 \u2028", 'tab\t"quote" back\\slash', "/slash/"])
def test_a_text_is_found_as_javascript_writes_it(text: str) -> None:
    as_javascript = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    transcript = f'{{"type":"user","message":{{"content":"<x>{as_javascript}</x>"}}}}\n'.encode()

    assert list(sightings(transcript, text)) == [Sighting.IN_CONTEXT]


def registry(**changes: object) -> str:
    """A file of 2.1.330, shortened."""
    entry = {
        "pid": 13462,
        "sessionId": "17d7dc52-f867-4825-8259-427bbfb18ea5",
        "cwd": "/home/me/shop",
        "version": "2.1.330",
        "kind": "interactive",
        "messagingSocketPath": "/run/user/1000/cc-socks/13462.sock",
        "status": "idle",
        "statusUpdatedAt": 1795412362804,
    }
    return json.dumps({**entry, **changes})


@pytest.mark.parametrize(
    ("written", "meaning"),
    [
        ("busy", "busy"),
        ("idle", "idle"),
        ("shell", "idle"),
        ("waiting", "waiting"),
        ("new", None),
        (None, None),
    ],
)
def test_a_status_is_read_in_our_words(written: object, meaning: str | None) -> None:
    registered = parse_registered(registry(status=written))

    assert registered is not None
    assert registered.status == meaning


def test_a_waiting_session_says_for_what() -> None:
    registered = parse_registered(registry(status="waiting", waitingFor="permission prompt"))

    assert registered is not None
    assert registered.waiting_for == "permission prompt"
    assert registered.messaging_socket == "/run/user/1000/cc-socks/13462.sock"
    assert registered.status_at_ms == 1795412362804


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sessionId": 7}', b"\xff"])
def test_what_is_no_registry_file_is_none(content: str | bytes) -> None:
    assert parse_registered(content) is None
