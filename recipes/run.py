"""What every recipe does around its method: read options, open the output folder, leave results behind."""

import difflib
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import datasets
import torch
import tyro
from accelerate import Accelerator

from evaluation.report import Column, Row, table
from trainers.config import TrainConfig
from trainers.folder import claim, provenance
from trainers.hub.scrub import scrub
from trainers.publish import check_repo_id
from trainers.stop import Collapsed
from trainers.world import open_world


class RecipeConfig(Protocol):
    """What `Run` needs of a recipe's options."""

    @property
    def train(self) -> TrainConfig:
        """Training options; train.out is the output folder."""
        ...


C = TypeVar("C")


def read_options(presets: Mapping[str, C], description: str, arguments: Sequence[str] | None = None) -> C:
    """Options from the command line: `[preset] [--option value ...]`, the first preset being the default.

    A preset may be written with underscores. A mistyped option ends the program with the nearest real one.

    Raises:
        ValueError: for a preset that does not exist, with the nearest that do.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    named = bool(words) and not words[0].startswith("-")
    chosen = words.pop(0).replace("_", "-") if named else next(iter(presets))
    if chosen not in presets:
        near = difflib.get_close_matches(chosen, presets)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(presets)}."
        raise ValueError(f"There is no preset {chosen!r}; {remedy}")
    default = presets[chosen]
    names = ", ".join(presets)
    about = f"{description.strip()}\n\nPresets, to be named first: {names}. Defaults below are those of {chosen}."
    return tyro.cli(type(default), default=default, args=words, description=about)


@dataclass
class Run:
    """One run of a recipe: its folder, its processes, its clock."""

    config: RecipeConfig
    accelerator: Accelerator
    began: float

    @classmethod
    def begin(cls, config: RecipeConfig, publish: str = "") -> "Run":
        """Check everything that can be checked before data is loaded, and write config.json.

        publish: the repository on the Hub that the run is to be published to, or nothing.

        Raises:
            ValueError: for a folder that cannot be written or is in use, a batch that does not divide, fewer
                processes than asked for, a precision that is not to be had, or an invalid repository id.
        """
        began = time.perf_counter()
        if publish:
            check_repo_id(publish)
        accelerator = open_world(config.train)
        run = cls(config, accelerator, began)
        if not run.main:
            datasets.disable_progress_bars()
        else:
            claim(config.train.out)
            run.write("config.json", {"options": asdict(config), **provenance()})  # type: ignore[call-overload]
        return run

    @property
    def main(self) -> bool:
        """Whether this is the process that reads, measures and writes for all."""
        return self.accelerator.is_main_process

    @property
    def out(self) -> Path:
        """The output folder."""
        return self.config.train.out

    def say(self, text: str) -> None:
        """Print once, however many processes there are."""
        self.accelerator.print(text, flush=True)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """JSON into the output folder."""
        (self.out / name).write_text(scrub(json.dumps(content, indent=2, default=str)) + "\n")

    @property
    def command(self) -> list[str]:
        """The command line that repeats this run from the project's folder."""
        return ["accelerate", "launch", f"recipes/{Path(sys.argv[0]).name}", *sys.argv[1:]]

    def report(self, rows: Sequence[Row], columns: Sequence[Column], ours: str | Sequence[str], note: str) -> str:
        """Print the table with a note, write results.json and return the table as Markdown; columns that the data
        gave no row a number for are left out.

        results.json: {"metrics": the row named `ours`, or those rows by name, "baselines": the others by name, "words":
        what stands instead of numbers, by row, where there are any, "seconds", "device"}; a list of numbers is one per
        seed.
        """
        metrics = {row.name: row.metrics for row in rows}
        words = {row.name: row.words for row in rows if row.words}
        self.write(
            "results.json",
            {
                "metrics": metrics.pop(ours) if isinstance(ours, str) else {name: metrics.pop(name) for name in ours},
                "baselines": metrics,
                **({"words": words} if words else {}),
                "seconds": round(time.perf_counter() - self.began, 1),
                "device": device_name(self.accelerator),
            },
        )
        shown = [
            column for column in columns if any(column.key in row.metrics or column.key in row.words for row in rows)
        ]
        self.say(f"\n{table(rows, shown)}\n\n{textwrap.fill(note, 100)}\n")
        return table(rows, shown, markdown=True)


def launch(main: Callable[[C], None], presets: Mapping[str, C], description: str) -> None:
    """Run a recipe's `main` with options from the command line; a `ValueError`, or a run that has collapsed or whose
    loss is not finite, becomes one sentence and exit code 2.

    UNSEEN_TRACEBACK=1 shows where it came from.
    """
    try:
        main(read_options(presets, description))
    except (ValueError, FloatingPointError, Collapsed) as error:
        if os.environ.get("UNSEEN_TRACEBACK"):
            raise
        print(f"error: {scrub(str(error))}", file=sys.stderr, flush=True)
        sys.exit(2)


def device_name(accelerator: Accelerator) -> str:
    """What the run ran on, in words."""
    count = accelerator.num_processes
    if accelerator.device.type == "cuda":
        return f"{count} x {torch.cuda.get_device_name()}"
    return f"CPU, {count} process{'es' if count > 1 else ''} of {torch.get_num_threads()} threads"
