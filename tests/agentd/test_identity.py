"""Agent ids: the documented form, the same for the same conversation."""

import asyncio
import hashlib
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_agentd.identity import agent_id, project_name
from relay_agentd.machine_name import settle_machine_name
from relay_agentd.relay_client import AsyncRelayClient
from tests.support.relay_process import RelayProcess


def test_id_has_the_documented_form() -> None:
    mark = hashlib.sha256(b"0b1c").hexdigest()[:8]

    named = agent_id(host="Laptop", rig="claude", project="My Shop!", provider_session_id="0b1c")

    assert named == f"laptop-claude-my-shop-{mark}"


@given(st.text(), st.text(), st.text(), st.text(min_size=1))
def test_any_names_give_an_id_the_relay_accepts(
    host: str, rig: str, project: str, session: str
) -> None:
    session = session.encode("utf-8", "replace").decode()
    named = agent_id(host=host, rig=rig, project=project, provider_session_id=session)

    assert 1 <= len(named) <= 128
    assert set(named) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert named.endswith(hashlib.sha256(session.encode()).hexdigest()[:8])


@pytest.mark.parametrize("is_worktree", [False, True])
def test_project_is_the_git_top_folder(tmp_path: Path, is_worktree: bool) -> None:
    top = tmp_path / "shop"
    below = top / "src" / "deep"
    below.mkdir(parents=True)
    if is_worktree:
        (top / ".git").write_text("gitdir: elsewhere")
    else:
        (top / ".git").mkdir()
        (top / ".git" / "HEAD").write_text("ref: refs/heads/main")

    assert project_name(below) == "shop"


def test_project_without_a_repository_is_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / ".git").mkdir(parents=True)

    assert project_name(folder) == "notes"


# --- the machine's own name ---


def _settle(folder: Path, relay: RelayProcess, *, is_new: bool = True) -> str:
    async def settle() -> str:
        async with AsyncRelayClient(relay.url) as client:
            return await settle_machine_name(folder / "machine", client, is_new=is_new)

    return asyncio.run(settle())


def _is_online(relay: RelayProcess, name: str) -> None:
    httpx.put(f"{relay.url}/api/machines/{name}", json={"hostname": name}).raise_for_status()


def test_machine_keeps_its_name_whatever_the_network_calls_it(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Laptop.home.example")
    assert _settle(tmp_path, relay) == "laptop"

    monkeypatch.setattr("socket.gethostname", lambda: "dhcp-17.cafe.example")
    assert _settle(tmp_path, relay) == "laptop"


def test_second_machine_of_a_name_is_told_apart_for_ever(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "twin")
    _is_online(relay, "twin")

    name = _settle(tmp_path, relay)

    assert re.fullmatch("twin-[0-9a-f]{4}", name)
    assert _settle(tmp_path, relay) == name


def test_machine_of_before_its_name_was_kept_stays_what_it_was(
    tmp_path: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "old")
    _is_online(relay, "old")

    assert _settle(tmp_path, relay, is_new=False) == "old"


def test_machine_gets_its_name_without_a_relay_too(
    tmp_path: Path, own_relay: RelayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "alone")
    own_relay.kill()

    assert _settle(tmp_path, own_relay) == "alone"
