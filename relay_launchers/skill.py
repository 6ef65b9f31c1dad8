"""The skill that tells an agent how to use the relay: the same text for every provider. Pure."""

from pathlib import Path
from typing import Final

SKILL_FILE: Final = Path("agent-relay") / "SKILL.md"


def skill_text() -> str:
    """The content of its SKILL.md."""
    return Path(__file__).with_name("skill.md").read_text("utf-8")
