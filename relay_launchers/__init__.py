"""How each provider (Claude Code, Codex) is started, resumed, fed and gated: plans and parsers."""
