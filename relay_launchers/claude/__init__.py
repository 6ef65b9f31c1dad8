"""Claude Code: launch plan, plugin, hook program, evidence parsers."""
