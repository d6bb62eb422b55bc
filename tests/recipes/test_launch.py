"""What ends a recipe in one sentence, and what in a traceback."""

import sys
from dataclasses import dataclass

import pytest

from recipes.run import launch
from trainers.stop import Collapsed


@dataclass(frozen=True)
class Options:
    """None but one."""

    size: int = 1
    """Of nothing."""


def ends_with(error: Exception) -> None:
    def main(options: Options) -> None:
        raise error

    launch(main, {"toy": Options()}, "A recipe that fails.")


@pytest.mark.parametrize(
    "error",
    [
        Collapsed("Step 3 of 6: all is one."),
        ValueError("size is 1; give 2."),
        FloatingPointError("Step 3: not finite."),
    ],
)
def test_what_ends_a_run_and_a_wrong_option_are_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["toy.py"])
    monkeypatch.delenv("UNSEEN_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        ends_with(error)
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {error}\n"
    monkeypatch.setenv("UNSEEN_TRACEBACK", "1")
    with pytest.raises(type(error)):
        ends_with(error)


def test_another_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["toy.py"])
    with pytest.raises(RuntimeError, match="the guilty line"):
        ends_with(RuntimeError("the guilty line"))
