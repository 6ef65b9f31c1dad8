"""Agent ids: the documented form, the same for the same conversation."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_agentd.identity import agent_id, project_name


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
