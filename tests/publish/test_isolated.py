"""A helper program's end is certain, and its last words hold no secret."""

from pathlib import Path

import pytest

from trainers.hub.isolated import IsolatedError, run_isolated

from .conftest import CANARY

READ = "import json, os, pathlib, sys\nquestion = json.loads(pathlib.Path('question.json').read_text())\n"
WRITE = "pathlib.Path('answer.json').write_text(json.dumps({'got': question['x'], 'path': sys.path}))\n"


def program(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(READ + text)
    return path


def test_question_and_answer(tmp_path: Path) -> None:
    answer = run_isolated(program(tmp_path, WRITE), {"x": "grün"}, seconds=60)
    assert answer["got"] == "grün"
    assert str(tmp_path) not in answer["path"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('refused: ' + os.environ['HF_TOKEN'])", "ValueError: refused: <hidden>"),
        ("os._exit(3)", "the process ended with code 3"),
        ("pass", "the process ended with code 0"),
    ],
)
def test_failure_is_a_sentence(text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    with pytest.raises(IsolatedError) as caught:
        run_isolated(program(tmp_path, text), {"x": 1}, seconds=60)
    assert str(caught.value) == reason


def test_silence_ends(tmp_path: Path) -> None:
    with pytest.raises(IsolatedError, match="no answer within 1 s"):
        run_isolated(program(tmp_path, "sys.stdin = None\nimport threading; threading.Event().wait()"), {}, seconds=1)
