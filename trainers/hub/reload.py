"""Helper program: load a saved model with stock classes only, and repeat the stored check.

Run by `trainers.hub.check` in a process of its own. It imports nothing of this project, and refuses to let the
model's files import it either: what loads here loads on a stranger's machine.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import safe_open


class RefuseProject(MetaPathFinder):
    """Makes the named top-level packages impossible to import, also where they are installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = frozenset(packages)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.packages:
            raise ImportError(f"the saved model needs {name}, which people who download it do not have")
        return None


def hide_broken(*packages: str) -> None:
    """Treat an installed package that cannot be imported as not installed.

    transformers imports torchaudio and torchvision wherever it finds them, and dies with builds that do
    not fit the installed torch.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            continue
        try:
            importlib.import_module(package)
        except (ImportError, OSError, RuntimeError):
            sys.modules[package] = None  # type: ignore[assignment]


def run_model(model: torch.nn.Module, method: str, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Named floating-point tensors of the output of `model.<method>(**inputs)`, on the CPU.

    The random state is fixed for the call, so that models that draw a mask inside `forward` can be compared.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        output = model(**inputs) if method == "forward" else getattr(model, method)(**inputs)
    named = {"output": output} if isinstance(output, torch.Tensor) else output
    if not isinstance(named, Mapping):
        return {}
    return {k: v for k, v in named.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}


class Sentences(torch.nn.Module):
    """A `SentenceTransformer` that takes its features by name, as the models of transformers do."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model = importlib.import_module("sentence_transformers").SentenceTransformer(model, device="cpu")

    def forward(self, **features: torch.Tensor) -> dict[str, torch.Tensor]:
        """{"sentence_embedding": (n, d)} and what the modules before it gave."""
        return dict(self.model(features))


def load(model: str, classes: dict[str, str]) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The model, and what loading it says of missing, unexpected and mismatched keys.

    The root of a `SentenceTransformer` is a folder for `AutoModel`, which is the one that can say.
    """
    transformers = importlib.import_module("transformers")
    # Only code that lies in the folder itself: the process is offline and cannot fetch any other.
    ships_code = any(Path(model).glob("*.py"))
    of_sentences = classes["model"] == "SentenceTransformer"
    loaded, info = getattr(transformers, "AutoModel" if of_sentences else classes["model"]).from_pretrained(
        model,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=ships_code,
    )
    if "processor" in classes:
        getattr(transformers, classes["processor"]).from_pretrained(model, trust_remote_code=ships_code)
    return (Sentences(model) if of_sentences else loaded), info


def repeat_check(model: str, check: Path, classes: dict[str, str], method: str) -> dict[str, Any]:
    """Load `model` (folder or Hub id), run it on the inputs in `check`, and compare the outputs.

    Returns:
        `missing`, `unexpected`, `mismatched`: names of keys. `outputs`: for each stored output the largest
        absolute `difference` and the largest absolute `size` of an expected value; a difference of None
        means that the output is absent, has another shape, or is not finite.
    """
    with safe_open(check, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    inputs = {k.removeprefix("input/"): v for k, v in tensors.items() if k.startswith("input/")}
    expected = {k.removeprefix("output/"): v for k, v in tensors.items() if k.startswith("output/")}

    loaded, info = load(model, classes)
    actual = run_model(loaded.eval(), method, inputs)

    outputs = {}
    for name, want in expected.items():
        got = actual.get(name)
        difference = None
        if got is not None and got.shape == want.shape and bool(got.isfinite().all()):
            difference = (got.double() - want.double()).abs().max().item() if want.numel() else 0.0
        outputs[name] = {"difference": difference, "size": want.abs().max().item() if want.numel() else 0.0}
    kinds = ("missing", "unexpected", "mismatched")
    return {kind: sorted(map(str, info.get(f"{kind}_keys", ()))) for kind in kinds} | {"outputs": outputs}


if __name__ == "__main__":
    question = json.loads(Path("question.json").read_text())
    sys.meta_path.insert(0, RefuseProject(question.pop("refuse")))
    hide_broken("torchaudio", "torchvision")
    Path("answer.json").write_text(json.dumps(repeat_check(**question)))
