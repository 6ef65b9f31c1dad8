"""Which conversation `--thread auto` goes on with."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from relay_launchers.base import ArgumentsRefused
from relay_launchers.codex.threads import latest_conversation, with_thread

FOLDER = Path("/home/me/shop")


def recorded(codex: Path, name: str, *, age: int, cwd: Path = FOLDER, **about: object) -> str:
    """A conversation as Codex 0.169 records it, its lock beside it."""
    folder = codex / "sessions" / "2026" / "11" / "24"
    folder.mkdir(parents=True, exist_ok=True)
    payload = {"id": name, "cwd": str(cwd), "source": "cli", "thread_source": "user", **about}
    record = folder / f"rollout-2026-11-24T18-07-37-{name}.jsonl"
    record.write_text(json.dumps({"type": "session_meta", "payload": payload}) + "\n")
    os.utime(record, (1_000_000 - age, 1_000_000 - age))
    locks = codex / "thread-writer-locks"
    locks.mkdir(exist_ok=True)
    (locks / f"{name}.lock").touch()
    return name


def latest(codex: Path) -> str | None:
    return latest_conversation({"CODEX_HOME": str(codex)}, FOLDER)


def test_it_is_the_one_last_written_in_that_folder(tmp_path: Path) -> None:
    recorded(tmp_path, "old", age=60)
    recorded(tmp_path, "new", age=30)
    recorded(tmp_path, "elsewhere", age=1, cwd=Path("/home/me/other"))

    assert latest(tmp_path) == "new"


def test_one_that_somebody_writes_now_is_passed_over(tmp_path: Path) -> None:
    recorded(tmp_path, "free", age=60)
    recorded(tmp_path, "taken", age=1)

    with (tmp_path / "thread-writer-locks" / "taken.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert latest(tmp_path) == "free"

    assert latest(tmp_path) == "taken"


def test_what_was_no_persons_conversation_is_passed_over(tmp_path: Path) -> None:
    recorded(tmp_path, "batch", age=1, source="exec")
    recorded(tmp_path, "helper", age=2, thread_source="sub_agent")
    (tmp_path / "sessions/2026/11/24/rollout-x.jsonl").write_text("{cut")

    assert latest(tmp_path) is None


def test_auto_resumes_it_and_start_does_not(tmp_path: Path) -> None:
    recorded(tmp_path, "mine", age=1)
    auto = {"CODEX_HOME": str(tmp_path), "AGENT_RELAY_CODEX_THREAD": "auto"}

    assert with_thread(["-m", "x"], auto, FOLDER) == ("resume", "mine", "-m", "x")
    assert with_thread(["hi"], auto, Path("/elsewhere")) == ("hi",)
    assert with_thread(["hi"], {**auto, "AGENT_RELAY_CODEX_THREAD": "start"}, FOLDER) == ("hi",)


def test_another_word_is_refused_with_those_there_are() -> None:
    with pytest.raises(ArgumentsRefused, match="start or auto"):
        with_thread([], {"AGENT_RELAY_CODEX_THREAD": "newest"}, FOLDER)
