"""Claude Code: plan, plugin, hook program, and the parsers of what it leaves behind."""

from relay_launchers.claude.plan import ClaudeProvider

PROVIDER = ClaudeProvider()
