"""A saved model must mean to a stranger what it meant in training: store inputs and outputs, reload, compare.

`write_check` puts `check.safetensors` beside `model/`; `verify` reloads `model/` with stock `transformers`
classes in a fresh process that cannot import this project, and compares.
"""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainers.hub import reload
from trainers.hub.isolated import IsolatedError, run_isolated
from trainers.hub.scrub import SECRET_NAME

MODEL, CHECK = "model", "check.safetensors"
TOLERANCE = 1e-5
PROJECT = ("objectives", "modalities", "trainers", "evaluation", "recipes", "benchmarks", "tests")
SECONDS = 600.0


@dataclass(frozen=True)
class CheckResult:
    """What the reloaded model did on the stored inputs."""

    difference: float
    """Largest absolute difference between an output in training and the same output after reloading."""
    outputs: tuple[str, ...]
    """Names of the outputs compared."""

    def __str__(self) -> str:
        outputs = ", ".join(self.outputs)
        return f"reloaded with stock classes: {outputs} differ by at most {self.difference:.1e}"


def write_check(
    folder: Path,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    classes: Mapping[str, str] | None = None,
    method: str = "forward",
) -> None:
    """Write `<folder>/check.safetensors`: inputs, and what the trained model makes of them.

    Args:
        folder: The run's output folder, which holds `model/`.
        model: The trained model itself, as it was saved to `model/`; it is left as it is.
        inputs: Keyword tensors of the method, each with leading dimension n; a handful of rows is enough.
        classes: Stock `transformers` class names for `model` and, where there is one, `processor` (a
            tokenizer, image processor or feature extractor). None: the model's own class, no processor.
        method: Method to call. Every top-level floating-point tensor of its output is stored.

    Raises:
        ValueError: An output is not finite, or the method gives none.
    """
    classes = dict(classes or {"model": type(model).__name__})
    on_cpu = copy.deepcopy(model).to("cpu", torch.float32).eval()
    given = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in inputs.items()}
    outputs = reload.run_model(on_cpu, method, given)
    if not outputs:
        raise ValueError(
            f"{type(model).__name__}.{method} gives no named floating-point tensor to compare; "
            "pass a method that returns a tensor or a transformers ModelOutput"
        )
    for name, output in outputs.items():
        if not bool(output.isfinite().all()):
            raise ValueError(
                f"output {name!r} of {type(model).__name__} on the check's inputs is not finite; "
                "the model has diverged or the inputs are broken, so it is not fit to be published"
            )
    tensors = {f"input/{name}": tensor for name, tensor in given.items()}
    tensors |= {f"output/{name}": tensor.contiguous().clone() for name, tensor in outputs.items()}
    metadata = {f"class/{role}": name for role, name in classes.items()}
    save_file(tensors, folder / CHECK, metadata={**metadata, "method": method})


def verify(folder: Path, classes: Mapping[str, str] | None = None) -> CheckResult:
    """Reload `<folder>/model` with stock classes in a fresh process and compare with the stored outputs.

    An output may differ by 1e-5, or by 1e-5 of its largest value where that is above 1.

    Args:
        folder: The run's output folder.
        classes: As in `write_check`; None takes the ones stored there.

    Raises:
        ValueError: A file is missing, the model does not load, keys are missing or unexpected, or an output
            differs.
    """
    for name in (MODEL, CHECK):
        if not (folder / name).exists():
            raise ValueError(f"{folder / name} is missing; give the output folder of a run that has finished")
    with safe_open(folder / CHECK, framework="pt") as file:
        metadata = file.metadata() or {}
    stored = {k.removeprefix("class/"): v for k, v in metadata.items() if k.startswith("class/")}
    names = dict(classes or stored)
    if "model" not in names:
        raise ValueError(f"{folder / CHECK} names no model class; write it with trainers.hub.check.write_check")
    where = f"{folder / MODEL} reloaded with {names['model']}"
    question = {
        "model": str((folder / MODEL).resolve()),
        "check": str((folder / CHECK).resolve()),
        "classes": names,
        "method": metadata.get("method", "forward"),
        "refuse": PROJECT,
    }
    # Offline and without secrets: whatever the model needs must lie in its folder.
    environment = {name: value for name, value in os.environ.items() if not SECRET_NAME.search(name)}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": "hub-cache"}
    try:
        answer = run_isolated(Path(reload.__file__), question, environment, seconds=SECONDS)
    except IsolatedError as error:
        raise ValueError(f"{where} failed: {error}") from None
    return _judge(answer, where)


def _judge(answer: dict[str, object], where: str) -> CheckResult:
    for kind in ("missing", "unexpected", "mismatched"):
        keys = answer[kind]
        assert isinstance(keys, list)
        if keys:
            some = ", ".join(keys[:3]) + ", ..." * (len(keys) > 3)
            raise ValueError(
                f"{where} has {len(keys)} {kind} keys ({some}); "
                "save it with save_pretrained, from the class that is to load it"
            )
    outputs = answer["outputs"]
    assert isinstance(outputs, dict)
    for name, output in outputs.items():
        difference, allowed = output["difference"], TOLERANCE * max(1.0, output["size"])
        if difference is None:
            raise ValueError(
                f"{where} gives no finite output {name!r} of the stored shape; "
                "save the model and write its check from the same weights"
            )
        if not difference <= allowed:
            raise ValueError(
                f"{where} gives another {name}: largest difference {difference:.2e}, allowed {allowed:.0e}; "
                "save the model and write its check from the same weights"
            )
    assert outputs, "write_check stores at least one output"
    return CheckResult(max(output["difference"] for output in outputs.values()), tuple(outputs))
