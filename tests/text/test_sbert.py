"""SBERT agrees with the losses of sentence-transformers."""

import pytest
import torch
from torch import nn

from modalities.text.sbert import SBERT, SBERTConfig
from tests.text.examples_sentences import batch, sbert


class Fixed(nn.Module):
    """Stands for a SentenceTransformer: gives vectors that are there already."""

    device = torch.device("cpu")

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return features


def build(cfg: SBERTConfig) -> SBERT:
    torch.manual_seed(0)
    task, _ = sbert(cfg)
    assert isinstance(task, SBERT)
    return task.double().eval()


def test_classification_is_softmax_loss() -> None:
    from sentence_transformers.sentence_transformer.losses import SoftmaxLoss

    task, given = build(SBERTConfig(classes=3)), batch(2)
    theirs = SoftmaxLoss(Fixed(), 16, 3)  # type: ignore[arg-type]
    assert task.classifier is not None
    theirs.classifier = task.classifier
    u, v = task.embed_texts(given, drop=False).unbind(1)
    features = [{"sentence_embedding": x} for x in (u, v)]
    wanted = theirs(features, given["labels"])
    assert (task(given)["loss"] - wanted).abs() < 1e-12
    assert (theirs(features[::-1], given["labels"]) - wanted).abs() > 1e-6  # the broken twin: v and u


def test_regression_is_cosine_similarity_loss() -> None:
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    task, given = build(SBERTConfig(objective="regression")), batch(2)
    given["scores"] = given["scores"].double()
    u, v = task.embed_texts(given, drop=False).unbind(1)
    features = [{"sentence_embedding": x} for x in (u, v)]
    wanted = CosineSimilarityLoss(Fixed())(features, given["scores"])  # type: ignore[arg-type]
    assert (task(given)["loss"] - wanted).abs() < 1e-12
    assert (task(given | {"scores": given["scores"].roll(1)})["loss"] - wanted).abs() > 1e-6


def test_dropout_is_for_training() -> None:
    task, given = build(SBERTConfig()), batch(2)
    assert torch.equal(task(given)["loss"], task(given)["loss"])
    measured = task(given)["loss"]
    assert not torch.equal(task.train()(given)["loss"], measured)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task\.classes is 1"):
        SBERTConfig(classes=1)
