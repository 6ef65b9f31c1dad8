"""Programs for people who work on Agent Relay."""
