"""The comparison of joint-embedding methods at toy size, stopped and gone on with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from evaluation.report import Row
from modalities.vision.config import DataConfig
from modalities.vision.sources import load
from recipes import compare, compare_cells, compare_references
from recipes.compare import CompareConfig
from recipes.joint_tasks import METHODS, PRESETS
from recipes.vision_config import ProbeConfig
from tests.recipes.shapes import draw_folder
from tests.recipes.test_joint_embedding import tiny
from trainers.stop import Collapsed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("compare") / "shapes", 64)


@pytest.fixture
def config(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompareConfig:
    small = {name: tiny(name, source, tmp_path / "unused") for name in ("simclr", "byol", "cmc", "uda")}
    for module in (compare, compare_references):
        monkeypatch.setattr(module, "PRESETS", small)
    return CompareConfig(
        methods="simclr,byol,cmc,uda",
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
    assert trained == ["SimCLR", "BYOL", "CMC", "UDA"]  # one that fails does not stop the others
    whole_table = json.loads((config.out / "results.json").read_text())
    results, others = whole_table["metrics"], whole_table["baselines"]
    assert set(results) == {"simclr", "byol", "cmc", "uda"}
    assert set(others) == {
        "resnet at random", "resnet at random, as cmc starts", "HOG and colour histograms", "supervised, all labels"
    }  # fmt: skip
    assert results["byol"] == {} and len(others["resnet at random"]["knn"]) == 2
    assert others["supervised, all labels"].keys() == {"tuned"}  # which is no linear probe
    assert whole_table["words"]["simclr"] == {
        "family": "contrast", "encoder": "resnet", "views": "2 of 40 px", "negatives": "14"
    }  # fmt: skip
    assert {"knn", "probe", "few", "cpu_seconds", "seconds"} <= results["simclr"].keys()
    shown = (config.out / "table.md").read_text()
    assert (
        "| simclr | contrast | resnet | 2 of 40 px | 14 |" in shown
        and "| byol | no negatives | resnet, teacher" in shown
    )
    assert "byol, seed 0: Step 1 of 2: all is one." in shown
    assert "few" not in results["uda"] and results["uda"]["probe"]  # it had more labels than few
    assert "These saw labels in training, and so have no number for few: uda 5." in shown
    assert "Trained on labels: 1 steps on 48 images." in shown
    with Image.open(config.out / "methods.png") as image:
        assert min(image.size) > 150

    monkeypatch.setattr(
        compare_cells, "fit", lambda task, *a, **k: trained.append(type(task).__name__) or whole(task, *a, **k)
    )
    trained.clear()
    for only_table in (True, False):  # nothing is left to train: what collapsed would collapse again
        compare.main(replace(config, only_table=only_table))
        again = json.loads((config.out / "results.json").read_text())
        assert again["metrics"] == results and again["baselines"] == others and not trained
        assert "byol, seed 0: Step 1 of 2: all is one." in (config.out / "table.md").read_text()
    (folder,) = (config.out / "methods").glob("byol-*")
    shutil.rmtree(folder)
    compare.main(replace(config, only_table=True))
    assert "byol, seed 0: not run yet." in (config.out / "table.md").read_text()
    compare.main(config)
    again = json.loads((config.out / "results.json").read_text())["metrics"]
    assert trained == ["BYOL"] and again["byol"]["knn"] and again["simclr"] == results["simclr"]
    compare.main(replace(config, methods="simclr", steps=3, supervised_epochs=0))
    assert trained == ["BYOL", "SimCLR"]  # another budget is another training


@pytest.mark.parametrize("name", PRESETS)
def test_words_of_every_method(name: str, source: Path) -> None:
    preset = tiny(name, source, source)
    data = load(preset.data)
    words = compare_cells.describe(compare_cells.Cell(name, preset), data)
    taught = name in ("moco", "moco-v1", "mochi", "moco-v3", "pcl", "byol", "dino", "dino-resnet")
    assert words["encoder"] == preset.model.kind + (", teacher" if taught else "")
    assert "px" in words["views"] and "view" not in words["views"] and words["negatives"]


def test_a_mistake_in_the_code_is_not_a_row_of_the_table(
    config: CompareConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object, **__: object) -> object:
        raise RuntimeError("the guilty line")

    monkeypatch.setattr(compare_cells, "fit", fit)
    with pytest.raises(RuntimeError, match="the guilty line"):
        compare.main(replace(config, methods="simclr", supervised_epochs=0, eval=ProbeConfig(seeds=0)))


def test_scores_are_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, file, write = SimpleNamespace(main=True), tmp_path / "scores.json", Path.write_text

    def killed(path: Path, text: str) -> int:
        write(path, text[: len(text) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "write_text", killed)
        compare_cells.kept(run, file, lambda: {"knn": 0.5})  # type: ignore[arg-type]
    assert not file.exists() and list(tmp_path.iterdir())  # half of it lies beside
    for value in (0.6, 0.7):
        assert compare_cells.kept(run, file, lambda value=value: {"knn": value}) == {"knn": 0.6}  # type: ignore


def test_above_chance_is_two_deviations_above_the_mean() -> None:
    start = {"knn": [0.40, 0.50, 0.60]}  # 0.5 and 0.1
    assert compare._above(Row("a", {"knn": [0.71]}), start, "knn")
    assert not compare._above(Row("a", {"knn": [0.69]}), start, "knn")
    assert compare._above(Row("a", {"knn": [0.51]}), {"knn": [0.50]}, "knn")  # one start has no spread
    assert not compare._above(Row("a", {"knn": [0.60, 0.80]}), start, "knn")
    assert compare._above(Row("a", {"knn": [0.1]}), {}, "knn")  # nothing to compare with


def test_what_cannot_be_compared_is_said(config: CompareConfig) -> None:
    with pytest.raises(ValueError, match="--methods asks for simclear; choose from simclr, byol"):
        compare.main(replace(config, methods="simclear"))
    with pytest.raises(ValueError, match="seeds is 0"):
        replace(config, seeds=0)
    with pytest.raises(ValueError, match="few is 2"):
        replace(config, few=2.0)
