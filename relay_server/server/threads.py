"""The threads that run requests: waitress' pool, grown so that long polls do not use it up."""

from typing import Final

from waitress.task import ThreadedTaskDispatcher

from relay_server.services.slots import MAX_LONG_POLLS, Slots

# Threads that may run at once: more only take turns on the interpreter's lock.
_RUNNING: Final = 8


class Threads(ThreadedTaskDispatcher):
    """Grows by one thread for each long poll, up to all that may wait."""

    def __init__(self, slots: Slots) -> None:
        super().__init__()
        self._slots = slots
        self.set_thread_count(_RUNNING)
        slots.watch(self.grow)

    def grow(self) -> None:
        """Make sure that enough threads do not wait."""
        wanted = min(_RUNNING + MAX_LONG_POLLS, _RUNNING + self._slots.parked)
        with self.lock:
            running = len(self.threads) - self.stop_count
            is_stopping = self.stop_count > 0
        if running < wanted and not is_stopping:
            self.set_thread_count(wanted)
