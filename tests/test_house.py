"""Style, types and the arrows between packages, held by the tools that pyproject.toml configures."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = {
    "style": [sys.executable, "-m", "ruff", "check", "."],
    "format": [sys.executable, "-m", "ruff", "format", "--check", "."],
    "types": [sys.executable, "-m", "mypy"],
    "arrows": [str(Path(sys.executable).with_name("lint-imports"))],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_finds_nothing(tool: str) -> None:
    run = subprocess.run(TOOLS[tool], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_tools_find_what_is_wrong(tmp_path: Path) -> None:
    """The broken twin: ruff sees an unused import, mypy a wrong type, both with this project's settings."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text('import os\n\n\ndef f() -> int:\n    return "no"\n')
    for tool in ("style", "types"):
        options = {"style": ["check", "--config", "pyproject.toml"], "types": ["--config-file", "pyproject.toml"]}[tool]
        command = [*TOOLS[tool][:3], *options, str(wrong)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 1, command
