"""Tests of the repository itself and of what the tests stand on."""
