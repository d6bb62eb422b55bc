"""Recipes killed at random steps, on one process and on two, against the run that nobody disturbed."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.recipes.shapes import draw_folder
from tests.trainers.toys import metrics_of

STEPS = 12
PROGRAM = """
import dataclasses, os, signal, sys
from pathlib import Path
from recipes import clip
from tests.recipes.shapes import tiny

source, out, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
config = tiny(source, out)
train = dataclasses.replace(config.train, log_every=1, evaluate_every=0, save_every=2, tracker="none", timeout=30.0)
calls = 0
real = clip.Clip.forward

def counted(self, batch):
    global calls
    calls += self.training
    if calls == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch)

clip.Clip.forward = counted
clip.main(dataclasses.replace(config, train=train, eval=clip.EvalConfig(seeds=0, classic=False, supervised_epochs=0)))
"""

PRETEXT = """
import dataclasses, os, signal, sys
from pathlib import Path
from modalities.vision.rotation import Rotation
from modalities.vision.supervised import Classifier
from recipes import pretext
from tests.recipes.test_pretext import tiny

source, out, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
config = tiny("rotation", source, out)
train = dataclasses.replace(config.train, steps=4, log_every=1, evaluate_every=0, save_every=2, timeout=30.0)
measured = dataclasses.replace(config.eval, seeds=0, classic=False, supervised_epochs=4.0, fractions="")
calls = 0

def counted(kind):
    real = kind.forward
    def forward(self, batch):
        global calls
        calls += self.training
        if self.training and calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, batch)
    kind.forward = forward

counted(Rotation)
counted(Classifier)
pretext.main(dataclasses.replace(config, train=train, eval=measured))
"""


def launch(program: Path, source: Path, out: Path, fatal: int, processes: int) -> int:
    command = [sys.executable, str(program)]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        command += ["--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", str(program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    words = [*command, str(source), str(out), str(fatal)]
    return subprocess.run(words, env=environment, capture_output=True, timeout=300).returncode


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_three_kills_change_nothing(tmp_path: Path, processes: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    source = draw_folder(tmp_path / "shapes", 64)
    assert launch(program, source, tmp_path / "whole", 0, processes) == 0
    chance = random.Random(processes)
    for _ in range(3):  # each kill comes at some step after the one resumed from
        assert launch(program, source, tmp_path / "killed", chance.randint(3, 4), processes) != 0
    assert launch(program, source, tmp_path / "killed", 0, processes) == 0
    whole, killed = metrics_of(tmp_path / "whole"), metrics_of(tmp_path / "killed")
    assert [line["step"] for line in whole] == list(range(1, STEPS + 1)) and whole == killed
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed")]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    # No two steps have one loss, so a step that was repeated or left out would show in the logs.
    assert len({line["loss"] for line in whole}) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_kills_while_fine_tuning_change_nothing(tmp_path: Path, processes: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(PRETEXT)
    source = draw_folder(tmp_path / "shapes", 64)
    assert launch(program, source, tmp_path / "whole", 0, processes) == 0
    # Pretraining, the supervised bound and fine-tuning take 4 steps each, and are saved after 2. The kills come in the
    # 4th step of the first, the 3rd of the second (2 calls after the resumed pretraining) and the 4th of the third.
    for fatal, reached in ((4, ""), (2 + 3, "supervised"), (2 + 4, "fine-tuned")):
        assert launch(program, source, tmp_path / "killed", fatal, processes) != 0
        assert (tmp_path / "killed" / (reached or "checkpoints")).is_dir()
        assert not (tmp_path / "killed" / "results.json").exists()
    assert launch(program, source, tmp_path / "killed", 0, processes) == 0
    whole, killed = (
        {path.relative_to(tmp_path / name): path for path in (tmp_path / name).rglob("metrics.jsonl")}
        for name in ("whole", "killed")
    )
    assert len(whole) == 3 and whole.keys() == killed.keys()
    for where, path in whole.items():
        lines = metrics_of(path.parent)
        assert [line["step"] for line in lines] == [1, 2, 3, 4] and lines == metrics_of(killed[where].parent)
        assert len({line["loss"] for line in lines}) == 4
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed")]
    assert results[0]["metrics"] == results[1]["metrics"] and results[0]["baselines"] == results[1]["baselines"]
