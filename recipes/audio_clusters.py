"""What the clusters that HuBERT guesses know of phones, where phones are known; no phone takes part in making them."""

from dataclasses import replace

from torch import Tensor

from evaluation.cluster_quality import cluster_quality
from modalities.audio.hubert import Hubert
from recipes.audio_features import describe, of_task
from recipes.audio_measure import Known


def cluster_scores(task: Hubert, known: Known) -> dict[str, float]:
    """`cluster_quality` on single frames of the held-out recordings; empty where phones are not known."""
    if "phone" not in known.targets:
        return {}

    def clusters(audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"clusters": task.labels(audio, lengths)[:, :, None]}

    found = describe(replace(of_task(task), layers=clusters), known.test, known.frames)
    return cluster_quality(found.frames["clusters"][:, 0], found.phones)
