"""Run one of our helper programs in a process of its own, with an end that is certain.

A process apart gives what no `try` can: a Hub that accepts a connection and then stays silent, a
server asking to wait an hour, or a crash inside a native library ends here as one sentence.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.hub.scrub import scrub

ERROR_LINE = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Limit|Timeout|Exit): \S")


class IsolatedError(RuntimeError):
    """The helper program failed or ran too long; the message is one sentence without secrets."""


def run_isolated(
    program: Path,
    question: Mapping[str, object],
    environment: Mapping[str, str] | None = None,
    *,
    seconds: float,
) -> dict[str, Any]:
    """Run `python program` in an empty folder; it reads `question.json` there and writes `answer.json`.

    Args:
        program: File to run; `-P` keeps its folder, and with it this package, off the import path.
        question: Handed over as JSON.
        environment: Variables of the process; None inherits this one's.
        seconds: The process is killed after this time.

    Raises:
        IsolatedError: It failed, gave no answer, or ran out of time.
    """
    with tempfile.TemporaryDirectory(prefix="unseen-") as folder:
        Path(folder, "question.json").write_text(json.dumps(question))
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(program.resolve())],
                cwd=folder,
                env={**(os.environ if environment is None else environment), "PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise IsolatedError(f"no answer within {seconds:.0f} s") from None
        answer = Path(folder, "answer.json")
        if done.returncode != 0 or not answer.is_file():
            ended = f"the process ended with code {done.returncode}"
            raise IsolatedError(scrub(_last_error(done.stderr) or ended))
        return dict(json.loads(answer.read_text()))


def _last_error(stderr: str) -> str:
    """The line of a traceback that names the error, cut to one sentence's length."""
    lines = [line for line in stderr.splitlines() if ERROR_LINE.match(line)]
    return lines[-1].strip().rstrip(".")[:300] if lines else ""
