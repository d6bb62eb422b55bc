"""Reloading with stock classes: equal outputs pass, every kind of damage is found.

The helper program's comparison is called in this process; one test goes through the process of its own.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from trainers.hub import check, reload
from trainers.hub.check import verify, write_check

from .conftest import CLASSES, tiny_clip


def change(run: Path, edit: Callable[[dict[str, torch.Tensor]], object], file: str = "model/model.safetensors") -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(run / file).items()}
    edit(tensors)
    save_file(tensors, run / file, metadata={"format": "pt", "class/model": "CLIPModel"})


def test_an_untouched_model_passes(run: Path, here: None) -> None:
    result = verify(run)
    assert result.difference <= 1e-6
    assert set(result.outputs) == {"logits_per_image", "logits_per_text", "text_embeds", "image_embeds"}


def test_a_weight_changed_after_the_check_is_found(run: Path, here: None) -> None:
    change(run, lambda weights: weights["text_projection.weight"][0, 0].add_(1e-3))
    with pytest.raises(ValueError, match=r"gives another .*: largest difference .*, allowed"):
        verify(run)


def test_nan_is_found(run: Path, here: None) -> None:
    change(run, lambda weights: weights["visual_projection.weight"].fill_(float("nan")))
    with pytest.raises(ValueError, match="gives no finite output"):
        verify(run)


def test_missing_and_unexpected_keys_are_found(run: Path, here: None) -> None:
    change(run, lambda weights: weights.update({"extra.weight": torch.zeros(1)}))
    with pytest.raises(ValueError, match=r"1 unexpected keys \(extra\.weight\)"):
        verify(run)
    change(run, lambda weights: (weights.pop("extra.weight"), weights.pop("text_projection.weight")))
    with pytest.raises(ValueError, match=r"1 missing keys \(text_projection\.weight\)"):
        verify(run)


def test_an_output_that_the_model_lacks_is_found(run: Path, here: None) -> None:
    change(run, lambda tensors: tensors.update({"output/other": torch.zeros(1)}), "check.safetensors")
    with pytest.raises(ValueError, match="no finite output 'other' of the stored shape"):
        verify(run, CLASSES)


def test_a_large_output_is_compared_by_its_size() -> None:
    answer = {"missing": [], "unexpected": [], "mismatched": []}
    answer["outputs"] = {"x": {"difference": 5e-4, "size": 100.0}}
    assert check._judge(answer, "model").difference == 5e-4
    answer["outputs"] = {"x": {"difference": 5e-4, "size": 1.0}}
    with pytest.raises(ValueError, match="gives another x"):
        check._judge(answer, "model")


def test_a_folder_without_model_or_check_is_refused(run: Path) -> None:
    (run / "check.safetensors").unlink()
    with pytest.raises(ValueError, match=r"check\.safetensors is missing"):
        verify(run)


def test_write_check_leaves_the_model_alone(tmp_path: Path, clip_inputs: dict[str, torch.Tensor], here: None) -> None:
    model, _ = tiny_clip()
    model.train().to(torch.bfloat16)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    write_check(tmp_path, model, clip_inputs)
    assert model.training and model.dtype == torch.bfloat16
    assert torch.equal(torch.get_rng_state(), before)
    model.save_pretrained(tmp_path / "model")
    assert verify(tmp_path).difference <= 1e-6


def test_any_method_can_be_the_check(tmp_path: Path, clip_inputs: dict[str, torch.Tensor], here: None) -> None:
    model, _ = tiny_clip()
    model.save_pretrained(tmp_path / "model")
    write_check(tmp_path, model, {"pixel_values": clip_inputs["pixel_values"]}, method="get_image_features")
    assert verify(tmp_path).difference <= 1e-6
    change(tmp_path, lambda weights: weights["visual_projection.weight"].mul_(2))
    with pytest.raises(ValueError, match="gives another"):
        verify(tmp_path)


def test_a_model_that_has_diverged_is_refused(tmp_path: Path, clip_inputs: dict[str, torch.Tensor]) -> None:
    model: CLIPModel = tiny_clip()[0]
    torch.nn.init.constant_(model.visual_projection.weight, float("inf"))
    with pytest.raises(ValueError, match="is not finite"):
        write_check(tmp_path, model, clip_inputs)


def test_the_project_cannot_be_imported() -> None:
    finder = reload.RefuseProject(["objectives"])
    assert finder.find_spec("transformers.models", None) is None
    for name in ("objectives", "objectives.contrastive"):
        with pytest.raises(ImportError, match="do not have"):
            finder.find_spec(name, None)


def test_a_package_that_does_not_import_counts_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_build.py").write_text("raise OSError('no such library')")
    (tmp_path / "sound_build.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("broken_build", "sound_build"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    reload.hide_broken("broken_build", "sound_build", "not_there_at_all")
    assert importlib.util.find_spec("broken_build") is None
    assert importlib.util.find_spec("sound_build") is not None


CODE = """
import {module}
import torch
from transformers import PretrainedConfig, PreTrainedModel

class TinyConfig(PretrainedConfig):
    model_type = "tiny-of-our-own"

class TinyModel(PreTrainedModel):
    config_class = TinyConfig
    def __init__(self, config):
        super().__init__(config)
        self.line = torch.nn.Linear(2, 2)
        self.post_init()
    def forward(self, x):
        return {{"y": self.line(x)}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["math", "trainers.hub.scrub"])
def test_a_model_that_ships_its_own_file_loads_only_without_the_project(module: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tiny.py").write_text(CODE.format(module=module))
    config = {
        "architectures": ["TinyModel"],
        "model_type": "tiny-of-our-own",
        "auto_map": {"AutoConfig": "tiny.TinyConfig", "AutoModel": "tiny.TinyModel"},
    }
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    line = torch.nn.Linear(2, 2)
    weights = {f"line.{name}": value.detach() for name, value in line.named_parameters()}
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})

    class Trained(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = line

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": self.line(x)}

    write_check(tmp_path, Trained(), {"x": torch.randn(3, 2)}, {"model": "AutoModel"})
    if module == "math":
        assert verify(tmp_path).outputs == ("y",)
    else:
        with pytest.raises(ValueError, match="do not have"):
            verify(tmp_path)
