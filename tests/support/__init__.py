"""What the tests stand on: stand-in models, a terminal, isolated homes. No tests."""
