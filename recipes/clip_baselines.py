"""What a CLIP run has to beat: itself before training, a classic feature, and the supervised bound."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor
from transformers import ProcessorMixin

from evaluation.classic import TextFeatures, image_features
from evaluation.joined_spaces import JoinedSpaces
from evaluation.report import Row
from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.image_text.pairs import Pairs
from modalities.image_text.towers import ModelConfig, build_towers
from modalities.pictures.batches import pixel_batches, thumbnails
from modalities.pictures.rows import Rows
from modalities.supervised import Supervised
from recipes.clip_measure import (
    EvalConfig,
    captions_of,
    classify,
    judged,
    measure,
    probe_rows,
    retrieval,
)
from trainers.config import TrainConfig
from trainers.loop import fit

_SIDE = 48  # pixels of the classic features: more brought nothing


def before_training(
    data: Pairs,
    processor: ProcessorMixin,
    collate: PairCollate,
    model: ModelConfig,
    cfg: EvalConfig,
    device: torch.device,
) -> list[Row]:
    """The model as it starts: over several random initialisations, or the one checkpoint it continues from."""
    if cfg.seeds == 0:
        return []
    found = model.clip_from or model.vision_from
    scores = []
    for seed in range(1 if found else cfg.seeds):
        set_seed(1000 + seed)
        start = Clip(build_towers(model, processor), processor, model.objective).to(device).eval()
        scores.append(measure(start, collate, data, cfg))
    name = "starting checkpoint" if found else "random initialisation"
    return [Row(name, {key: [each[key] for each in scores] for key in scores[0]})]


def classic(data: Pairs, cfg: EvalConfig) -> list[Row]:
    """Colour and gradient histograms joined to TF-IDF by canonical correlation, fitted on training rows."""
    if not cfg.classic or not isinstance(data.train, Rows) or len(data.train) < 10:
        return []
    train = data.train.select(range(min(len(data.train), cfg.rows)))
    image, test_image = image_features(thumbnails(train, _SIDE)), image_features(thumbnails(data.test, _SIDE))
    (texts, ids), (test_texts, _) = captions_of(train), captions_of(data.test)
    words = TextFeatures().fit(texts)
    place = {image_id: row for row, image_id in enumerate(train.ids.tolist())}
    joint = JoinedSpaces().fit(image[[place[i] for i in ids.tolist()]], words(texts), ids)
    scores = retrieval(joint.image(test_image), joint.text(words(test_texts)), data)
    chosen, known = judged(data), probe_rows(data, cfg)
    if chosen.any() and known:
        labels = np.array(data.test.labels)
        features = image[[place[i] for i in known.ids.tolist()]]
        scores |= classify(features, np.array(known.labels), test_image[chosen], labels[chosen].astype(np.int64))
    return [Row("HOG and TF-IDF, CCA", dict(scores))]


def supervised(
    data: Pairs,
    collate: PairCollate,
    processor: ProcessorMixin,
    model: ModelConfig,
    train: TrainConfig,
    cfg: EvalConfig,
    processes: int,
) -> list[Row]:
    """A fresh image tower trained on the labels; every process takes part."""
    rows = probe_rows(data, cfg)
    if not cfg.supervised_epochs or not judged(data).any() or rows is None or len(rows) < processes:
        return []
    set_seed(train.seed)
    tower = build_towers(model, processor).vision_model
    task = Supervised(tower, tower.config.hidden_size, len(data.classes))
    label_of = dict(zip(rows.ids.tolist(), rows.labels, strict=True))

    def labelled(rows: list[Any], seeds: Any) -> dict[str, Tensor]:
        batch = collate(rows, seeds)
        labels = torch.tensor([label_of[i] for i in batch["ids"].tolist()])
        return {"pixel_values": batch["pixel_values"], "labels": labels}

    options = replace(
        train,
        out=train.out / "supervised",
        batch_size=min(train.batch_size, len(rows) // processes * processes),
        epochs=cfg.supervised_epochs,
        steps=0,
        evaluate_every=0,
        micro_batch=0,
    )
    task = fit(task, rows, labelled, options, identity={"model": asdict(model), "data": data.fingerprint})
    with torch.inference_mode():
        guesses = [
            task.logits({"pixel_values": pixels.to(tower.device)}).argmax(1).cpu()
            for pixels in pixel_batches(data.test, collate.image_processor)
        ]
    chosen = judged(data)
    correct = torch.cat(guesses).numpy()[chosen] == np.array(data.test.labels)[chosen]
    return [Row("supervised image tower", {"probe": float(correct.mean())})]
