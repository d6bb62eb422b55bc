"""Tiny HuBERTs of both iterations, and recordings in whose halves equally many frames are hidden, for the contract."""

import tempfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import save_file

from modalities.audio.hubert import Hubert, HubertConfig
from modalities.draws import as_signed, mix
from modalities.task import Batch, Task
from tests.audio.examples_wav2vec2 import ROWS, recordings, shape

TINY = {"clusters": 4, "start": 0.15, "span": 3, "unmasked_weight": 0.0, "projection": 16}


def batch_for(task: Hubert) -> Batch:
    """The first seeds that hide as many frames in one half of the rows as in the other: the loss of a process is a
    mean over its own hidden frames, and only `fit` knows how many the other has."""
    batch = recordings()
    length = int(task.frames(torch.tensor(batch["audio"].shape[1])))
    for first in range(100):
        batch["seeds"] = as_signed(mix(np.arange(first * ROWS, (first + 1) * ROWS, dtype=np.uint64)))
        halves = task.mask(batch, length)[0].sum(1).view(2, -1).sum(1)
        if halves[0] == halves[1] > 0:
            return batch
    raise AssertionError("no such seeds")


def hubert(**options: object) -> tuple[Hubert, Batch]:
    task = Hubert(shape("layer"), HubertConfig(**TINY | options))  # type: ignore[arg-type]
    batch = batch_for(task)
    task.find_clusters([batch], seed=0)
    return task, batch


def save_teacher(folder: str) -> str:
    """A HuBERT of two layers. Written by hand, for `save_pretrained` writes on the first process alone."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        encoder = Hubert(replace(shape(), layers=2), HubertConfig(**TINY)).encoder  # type: ignore[arg-type]
    encoder.config.to_json_file(f"{folder}/config.json")
    save_file(encoder.state_dict(), f"{folder}/model.safetensors", {"format": "pt"})
    return folder


def second_iteration() -> tuple[Hubert, Batch]:
    with tempfile.TemporaryDirectory() as folder:
        return hubert(teacher=save_teacher(folder), teacher_layer=1)


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "hubert": (Hubert, hubert),
    "hubert, all frames": (
        Hubert,
        lambda: hubert(unmasked_weight=0.5, feature_penalty=1.0, feature_gradient=0.5),
    ),
    "hubert, second iteration": (Hubert, second_iteration),
}
