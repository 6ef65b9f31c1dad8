"""Codex: plan, policy of resumed sessions, and the words of its app-server."""

from relay_launchers.codex.plan import CodexProvider

PROVIDER = CodexProvider()
