"""Ending a run between two steps: because it is asked to, or because it learns nothing any more."""

import signal
from types import FrameType
from typing import Any


class Collapsed(RuntimeError):
    """By its own scalars the run has come to nothing; the sentence says by which, and what to do."""


class StopSignal:
    """Remembers SIGTERM or SIGINT so that the loop can end between two steps; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: signals are someone else's
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number
