"""HuBERT's two runs: the second clusters what the first has learnt, and both say what their clusters know of phones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recipes import audio
from recipes.audio_tasks import PRESETS
from tests.recipes.test_audio import tiny
from trainers.hub.check import verify


def test_the_second_run_clusters_what_the_first_has_learnt(tmp_path: Path) -> None:
    audio.main(tiny("hubert", tmp_path / "first"))
    second = tiny("hubert-second", tmp_path / "second")
    with pytest.raises(ValueError, match=r"task\.teacher 'runs/hubert/model' cannot be loaded"):
        audio.main(replace(second, task=replace(second.task, teacher="runs/hubert/model")))  # type: ignore[type-var]
    task = replace(second.task, teacher=str(tmp_path / "first" / "model"), teacher_layer=1)  # type: ignore[type-var]
    audio.main(replace(second, task=task))
    for run in ("first", "second"):
        found = json.loads((tmp_path / run / "results.json").read_text())["metrics"]
        assert 0 < found["pnmi"] < 1 and 0 < found["phone_purity"] < 1
        assert (tmp_path / run / "codes.png").exists()


@pytest.mark.slow
def test_a_stranger_can_load_the_second_run(tmp_path: Path) -> None:
    test_the_second_run_clusters_what_the_first_has_learnt(tmp_path)
    assert verify(tmp_path / "second").difference <= 1e-5


def test_the_second_run_takes_the_shape_and_data_of_the_first() -> None:
    first, second = PRESETS["hubert"], PRESETS["hubert-second"]
    assert (first.model, first.data, first.seconds) == (second.model, second.data, second.seconds)
