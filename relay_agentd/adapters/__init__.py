"""Transports into live sessions: one module a provider, all behind `Adapter`."""
