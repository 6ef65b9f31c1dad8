"""The daemon core: rules, store, processes, sessions, relay link, control socket."""
