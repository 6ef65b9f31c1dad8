"""Codex: launch plan and app-server protocol."""
