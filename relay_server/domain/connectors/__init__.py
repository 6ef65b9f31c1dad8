"""Other products' webhook payloads as events of ours. Pure: no HTTP, no clock, no database."""
