"""The command line and the launcher against a real relay and a real daemon."""
