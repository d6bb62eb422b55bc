"""The comparison of joint-embedding methods at toy size, stopped and gone on with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from modalities.vision.config import DataConfig
from recipes import compare, compare_cells
from recipes.compare import CompareConfig
from recipes.joint_tasks import METHODS, PRESETS
from recipes.vision_config import ProbeConfig
from tests.recipes.shapes import draw_folder
from tests.recipes.test_joint_embedding import tiny
from trainers.stop import Collapsed


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompareConfig:
    source = draw_folder(tmp_path / "shapes", 64)
    small = {name: tiny(name, source, tmp_path / "unused") for name in ("simclr", "byol", "cmc")}
    for module in (compare, compare_cells):
        monkeypatch.setattr(module, "PRESETS", small)
    return CompareConfig(
        methods="simclr,byol,cmc",
        steps=2,
        batch_size=8,
        supervised_epochs=0.2,
        out=tmp_path / "compare",
        data=DataConfig(source=str(source), label_column="colour", held_out=16, side=40),
        eval=ProbeConfig(seeds=2),
    )


def test_all_families_are_known() -> None:
    assert {getattr(method, "__name__", "") for method in METHODS.values()} == set(compare_cells.FAMILIES)
    assert set(CompareConfig().methods.split(",")) == set(PRESETS)


def test_methods_side_by_side_however_often_it_stops(
    config: CompareConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = compare_cells.fit
    trained: list[str] = []

    def fit(task: object, *others: object, **more: object) -> object:
        trained.append(type(task).__name__)
        if type(task).__name__ == "BYOL":
            raise Collapsed("Step 1 of 2: all is one.")
        return whole(task, *others, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(compare_cells, "fit", fit)
    compare.main(config)
    assert trained == ["SimCLR", "BYOL", "CMC"]  # one that fails does not stop the others
    results = json.loads((config.out / "results.json").read_text())["baselines"]
    assert set(results) == {
        "resnet at random", "resnet at random, as cmc starts", "simclr", "byol", "cmc", "supervised, all labels"
    }  # fmt: skip
    assert results["byol"] == {} and len(results["resnet at random"]["knn"]) == 2
    assert {"knn", "probe", "few", "cpu_seconds", "seconds"} <= results["simclr"].keys()
    shown = (config.out / "table.md").read_text()
    assert (
        "| simclr | contrast | resnet | 2 x 40 | 14 |" in shown and "| byol | no negatives | resnet, teacher" in shown
    )
    assert "byol, seed 0: Step 1 of 2: all is one." in shown
    with Image.open(config.out / "methods.png") as image:
        assert min(image.size) > 150

    monkeypatch.setattr(compare_cells, "fit", whole)
    trained.clear()
    compare.main(replace(config, only_table=True))
    assert "byol, seed 0: not run yet." in (config.out / "table.md").read_text()
    monkeypatch.setattr(
        compare_cells, "fit", lambda task, *a, **k: trained.append(type(task).__name__) or whole(task, *a, **k)
    )
    compare.main(config)
    again = json.loads((config.out / "results.json").read_text())["baselines"]
    assert trained == ["BYOL"] and again["byol"]["knn"] and again["simclr"] == results["simclr"]
    compare.main(replace(config, methods="simclr", steps=3, supervised_epochs=0))
    assert trained == ["BYOL", "SimCLR"]  # another budget is another training


def test_what_cannot_be_compared_is_said(config: CompareConfig) -> None:
    with pytest.raises(ValueError, match="--methods asks for simclear; choose from simclr, byol"):
        compare.main(replace(config, methods="simclear"))
    with pytest.raises(ValueError, match="seeds is 0"):
        replace(config, seeds=0)
    with pytest.raises(ValueError, match="few is 2"):
        replace(config, few=2.0)
