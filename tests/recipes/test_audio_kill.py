"""The audio recipes killed while it trains, on one process and on two, against the run that nobody disturbed."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.recipes.test_kill import launch
from tests.trainers.toys import metrics_of

STEPS = 6
PROGRAM = """
import dataclasses, os, signal, sys
from pathlib import Path
from recipes import audio, finetune_audio
from tests.recipes import test_audio, test_finetune_audio

name, out, fatal = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
recipe = finetune_audio if name == "finetune" else audio
config = test_finetune_audio.config(out) if name == "finetune" else test_audio.tiny(name, out)
train = dataclasses.replace(
    config.train, steps=6, log_every=1, evaluate_every=0, save_every=2, tracker="none", timeout=60.0
)
calls, fit = 0, recipe.fit

def watched(task, *rest):
    real = type(task).forward
    def forward(self, batch):
        global calls
        calls += self.training
        if self.training and calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, batch)
    type(task).forward = forward
    return fit(task, *rest)

recipe.fit = watched
recipe.main(dataclasses.replace(config, train=train))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name, processes", [("cpc", 1), ("wav2vec2", 2), ("hubert", 2), ("cola", 2), ("finetune", 2)])
def test_kills_change_nothing(name: str, processes: int, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert launch(program, Path(name), tmp_path / "whole", 0, processes) == 0
    for fatal in (4, 4):  # in the 4th step, and in the 4th after the checkpoint of the 2nd
        assert launch(program, Path(name), tmp_path / "killed", fatal, processes) != 0
    assert not (tmp_path / "killed" / "results.json").exists()
    assert launch(program, Path(name), tmp_path / "killed", 0, processes) == 0
    whole, killed = metrics_of(tmp_path / "whole"), metrics_of(tmp_path / "killed")
    assert [line["step"] for line in whole] == list(range(1, STEPS + 1)) and whole == killed
    assert len({line["loss"] for line in whole}) == STEPS
    weights = [load_file(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "killed")]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])
    results = [json.loads((tmp_path / run / "results.json").read_text()) for run in ("whole", "killed")]
    assert results[0]["metrics"] == results[1]["metrics"]
