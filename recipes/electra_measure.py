"""How well replaced tokens of held-out text are told from original ones: by a discriminator, and by counting."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from evaluation.report import Column
from modalities.draws import mix
from modalities.task import Batch
from modalities.text.electra import Electra, ElectraCollate
from modalities.text.masking import MaskConfig
from modalities.text.packing import Packed
from objectives.predictive import IGNORE
from recipes.text_measure import COLUMNS as OF_ENCODERS
from recipes.text_measure import evenly

COLUMNS = [
    Column("replaced_auc", "replaced, AUC", percent=False),
    Column("replaced_found", "replaced, recall"),
    Column("replaced_precision", "precision"),
    *(column for column in OF_ENCODERS if not column.key.startswith("held_out")),
]
_SEED = 0xE1EC  # of the masks and samples of held-out text, the same ones in every run
_BATCH, _ROWS = 32, 512


def rounds(task: Electra, held_out: Packed, masks: MaskConfig) -> Iterator[tuple[Batch, Batch]]:
    """Batches of at most 512 held-out rows, evenly spaced, and what both networks make of them (`Electra.play`)."""
    collate = ElectraCollate(task.tokenizer, masks)
    places = evenly(len(held_out), _ROWS)
    for start in range(0, len(places), _BATCH):
        some = places[start : start + _BATCH]
        batch = collate([held_out[place] for place in some.tolist()], mix(some.astype(np.uint64) + np.uint64(_SEED)))
        batch = {name: tensor.to(task.encoder.device) for name, tensor in batch.items()}
        with torch.inference_mode():
            yield batch, task.play(batch)


def replaced_tokens(
    task: Electra, held_out: Packed, masks: MaskConfig, counts: Packed | None = None
) -> dict[str, float]:
    """{"replaced_auc", "replaced_found" (recall), "replaced_precision", "replaced_accuracy" of all tokens,
    "replaced_share" of all tokens, "generator_accuracy"}; with `counts`, training rows, "rare_auc" as well: that of
    calling a token the likelier replaced the rarer it is there."""
    scores, truth, fakes, right, asked = [], [], [], 0, 0
    for batch, out in rounds(task, held_out, masks):
        real = (batch["segments"] if "segments" in batch else batch["attention_mask"]) > 0
        scores.append(out["scores"][real].float().cpu().numpy())
        truth.append(out["replaced"][real].cpu().numpy())
        fakes.append(out["fake"][real].cpu().numpy())
        targets = batch["labels"][batch["labels"] != IGNORE]
        right += int((out["logits"].argmax(-1) == targets).sum())
        asked += len(targets)
    score, replaced = np.concatenate(scores), np.concatenate(truth)
    verdict = score > 0
    hits = int((verdict & replaced).sum())
    found = {
        "replaced_auc": float(roc_auc_score(replaced, score)) if 0 < replaced.sum() < len(replaced) else 0.5,
        "replaced_found": hits / max(1, int(replaced.sum())),
        "replaced_precision": hits / max(1, int(verdict.sum())),
        "replaced_accuracy": float((verdict == replaced).mean()),
        "replaced_share": float(replaced.mean()),
        "generator_accuracy": right / max(1, asked),
    }
    if counts is not None and 0 < replaced.sum() < len(replaced):
        frequency = np.bincount(counts.input_ids[counts.segments > 0], minlength=len(task.tokenizer))
        found["rare_auc"] = float(roc_auc_score(replaced, -frequency[np.concatenate(fakes)]))
    return found


def explain_replaced(scores: dict[str, float]) -> str:
    """What the columns of replaced tokens mean, in words."""
    return (
        f"Replaced: {scores['replaced_share']:.1%} of the held-out tokens are the generator's (which is right about "
        f"{scores['generator_accuracy']:.0%} of those it was asked for); AUC, recall and precision of telling them, "
        f"the latter two at even odds. {scores['replaced_accuracy']:.1%} of all tokens are judged rightly, "
        f"{1 - scores['replaced_share']:.1%} by calling each original."
    )
