"""What a run shows while it goes: metrics.jsonl, trackers, and a bar with rows per second and the time left."""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm


class Record:
    """Metrics of a run; does something on the main process only.

    Args:
        file: metrics.jsonl, one JSON object a line, each with "step". Lines past `start`, written by a run that
            went further than the checkpoint it left, are dropped.
        rows: rows per step. total: steps of the whole run.
    """

    def __init__(self, accelerator: Accelerator, file: Path, rows: int, start: int, total: int) -> None:
        self._accelerator, self._file = accelerator, file
        self._main = accelerator.is_main_process
        self._rows, self._done, self._began = rows, 0, time.perf_counter()
        if self._main:
            _truncate(file, start)
        # A log file gets a line now and then, a terminal a bar that moves.
        pause = 0.2 if sys.stderr.isatty() else 15.0
        self._bar = tqdm(
            total=total, initial=start, disable=not self._main, unit="step", dynamic_ncols=True, mininterval=pause
        )

    def advance(self) -> None:
        """One step is done."""
        self._done += 1
        self._bar.update()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line of metrics after `step` steps."""
        speed = self._rows * self._done / max(time.perf_counter() - self._began, 1e-9)
        if self._main:
            line: dict[str, Any] = {"step": step, **metrics, "rows_per_second": round(speed, 1)}
            with self._file.open("a") as handle:
                handle.write(json.dumps({k: _plain(v) for k, v in line.items()}) + "\n")
            shown: dict[str, str] = {name: f"{metrics[name]:.4g}" for name in ("loss", "lr") if name in metrics}
            shown["rows/s"] = f"{speed:.0f}"
            self._bar.set_postfix(shown, refresh=False)
        self._accelerator.log(metrics, step=step)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._main:
            self._bar.write(text)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _truncate(file: Path, last: int) -> None:
    if not file.exists():
        return
    kept = []
    for line in file.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= last:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # a line that a kill cut short
    partial = file.with_suffix(".partial")
    partial.write_text("".join(kept))
    os.replace(partial, file)
