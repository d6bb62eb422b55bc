"""train.compile: the same training to rounding, the same names, and nothing left of it afterwards."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.toys import Batch, Rows, Single, collate
from tests.vision.joint import examples_assignment, examples_moco, examples_views
from trainers import checkpoint
from trainers.compiled import compile_parts, leave_parts
from trainers.config import TrainConfig
from trainers.loop import fit

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # by what torch.compile itself imports
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),  # read by its tracer
]


def trained(cfg: TrainConfig, calls: list[bool]) -> Single:
    """The toy after some steps; `calls` gets whether each evaluation ran as written."""
    torch.manual_seed(0)

    def evaluate(task: Single, step: int) -> dict[str, float]:
        calls.append(torch.compiler.is_compiling())
        return {"out": task.encoder(torch.ones(3, 6, dtype=torch.float64)).sum().item()}

    return fit(Single(dropout=0.0), Rows(40), collate, cfg, evaluate)


def test_compiled_parts_train_alike_and_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    compile_part = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda part: made.append(type(part).__name__) or compile_part(part))
    plain = TrainConfig(out=tmp_path / "plain", batch_size=8, steps=3, evaluate_every=3, tracker="none", log_every=1)
    calls: list[bool] = []
    one, other = trained(plain, calls), trained(replace(plain, out=tmp_path / "fast", compile=True), calls)
    assert made == ["Linear", "Linear", "Linear", "LayerNorm"] and calls == [False, False]
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(
        torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )
    assert all(part._compiled_call_impl is None for part in other.modules())
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("plain", "fast")]
    losses = [[json.loads(line)["loss"] for line in log if '"loss"' in line] for log in logs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12) and len(set(losses[0])) == 3
    # A compiled run's checkpoint is any run's: its names load into a task that was never compiled.
    fresh = Single(dropout=0.0)
    checkpoint.load(checkpoint.checkpoints(tmp_path / "fast" / "checkpoints")[0], fresh, None)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", ["cmc", "moco, ViT", "swav with queues, ViT"])
def test_every_part_of_a_task_that_is_called_is_compiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced, and then run as written: a compiler would take minutes."""

    def step(task: Any, batch: Batch) -> list[Tensor]:
        torch.manual_seed(0)
        loss = task(batch)["loss"]
        loss.backward()
        return [loss.detach(), *(p.grad for p in task.parameters() if p.grad is not None)]

    compile_part = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda part: compile_part(part, backend="eager"))
    build = (examples_views.EXAMPLES | examples_moco.EXAMPLES | examples_assignment.EXAMPLES)[name][1]
    torch.manual_seed(0)
    task, batch = build()
    other = copy.deepcopy(task)
    compile_parts(other)
    compiled = [part for part in other.modules() if part._compiled_call_impl is not None]
    assert not any(isinstance(part, (nn.ModuleDict, nn.ModuleList)) for part in compiled)  # which nobody calls
    covered = {id(p) for part in compiled for p in part.parameters()}
    alone = {id(p) for p in other.parameters(recurse=False)}
    assert covered | alone == {id(p) for p in other.parameters()}
    assert all(
        torch.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(step(task, batch), step(other, batch), strict=True)
    )
    leave_parts(other)
    assert all(part._compiled_call_impl is None for part in other.modules())


def test_what_cannot_be_compiled_is_said() -> None:
    with pytest.raises(ValueError, match=r"train\.compile and train\.shard"):
        TrainConfig(compile=True, shard=True)
