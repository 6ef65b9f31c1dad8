"""The tests: see CONTRIBUTING.md for what lies in which folder."""
