"""What fine-tuning on transcripts learns from, and how it is judged."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.error_rates import error_rates
from evaluation.report import Column
from modalities.audio.ctc import CTC
from modalities.audio.decode import decode
from modalities.audio.rows import AudioSet, Rows
from modalities.audio.transcripts import Transcribed, plain, transcribed
from modalities.draws import mix

COLUMNS = [
    Column("wer", "word errors"),
    Column("cer", "character errors"),
    Column("loss", "nats per character", percent=False),
]
_BATCH = 8


def transcripts(data: AudioSet) -> list[str]:
    """Plain transcripts of the training side.

    Raises:
        ValueError: for a stream, and for data without transcripts.
    """
    if not isinstance(data.train, Rows):
        raise ValueError("data.stream is set, but fine-tuning reads rows at hand; drop it.")
    if not any(data.train.texts):
        raise ValueError(
            f"{data.name} has no transcripts to learn from; name their column with data.text_column, or take a source "
            "that has some, such as speech."
        )
    return [plain(texts[0]) for texts in data.train.texts if texts]


def sides(task: CTC, data: AudioSet, seconds: float, minutes: float) -> tuple[Transcribed, Transcribed]:
    """Recordings to learn from, up to so many `minutes`, drawn by their ids, where that is not 0, and to judge by. A
    sentence that is held out is not learnt from, whoever reads it.

    Raises:
        ValueError: where none can be used, with the causes.
    """
    train, test = (
        transcribed(rows, data.rate, seconds, lambda samples: int(task.frames(torch.tensor(samples))))
        for rows in (data.train, data.test)
    )
    train = _without(train, set(test.texts))
    for name, side in (("training", train), ("held-out", test)):
        if len(side) == 0:
            causes = ", ".join(f"{count} {cause}" for cause, count in side.left_out.items()) or "there are none"
            raise ValueError(
                f"None of the {name} recordings of {data.name} can be used ({causes}); raise seconds or data.held_out, "
                "or take other data."
            )
    if minutes:  # a table may be sorted by speaker
        order = np.argsort(mix(train.rows.ids.astype(np.uint64)), kind="stable")
        train = replace(train, rows=train.rows.select(order), lengths=train.lengths[order])
        train = train.first(60 * minutes * data.rate)
    return train, test


def _without(side: Transcribed, texts: set[str]) -> Transcribed:
    kept = [place for place, text in enumerate(side.texts) if text not in texts]
    if len(kept) == len(side):
        return side
    left_out = side.left_out | {"also held out": len(side) - len(kept)}
    return Transcribed(side.rows.select(kept), side.lengths[kept], left_out)


@torch.no_grad()
def measure(task: CTC, test: Transcribed, collate: Any) -> tuple[dict[str, float], list[str]]:
    """{"wer", "cer", "loss"} of the held-out recordings, and what was heard in each."""
    heard: list[str] = []
    total = characters = 0.0
    for start in range(0, len(test), _BATCH):
        batch = collate(test.__getitems__(list(range(start, min(start + _BATCH, len(test))))))
        batch = {name: tensor.to(task.encoder.device) for name, tensor in batch.items()}
        out = task(batch)
        total += float(out["loss"] * out["count"])
        characters += float(out["count"])
        heard += task.transcribe(batch)
    return error_rates(test.texts, heard) | {"loss": total / characters}, heard


def some_inputs(task: CTC, test: Transcribed, count: int = 4) -> dict[str, Tensor]:
    """A few held-out recordings as the published processor makes them."""
    rows = [test[place] for place in range(min(count, len(test)))]
    raw = [decode(row["audio"], row["id"], task.rate) for row in rows]
    return dict(task.feature_extractor()(raw, sampling_rate=task.rate, padding=True, return_tensors="pt"))


def explain(data: AudioSet, train: Transcribed, test: Transcribed) -> str:
    """What was learnt from and judged by, in words."""
    hours = train.lengths.sum() / data.rate / 3600
    sides = (("training", train), ("held-out", test))
    left = [(name, ", ".join(f"{count:,} {cause}" for cause, count in side.left_out.items())) for name, side in sides]
    voices = " The voices are synthetic, and the same ones in both." if data.synthetic else ""
    return (
        f"{len(train):,} transcribed recordings to learn from ({60 * hours:.1f} minutes) and {len(test):,} held-out "
        f"ones of {data.name}, of other sentences.{voices} Texts are lower-case letters and apostrophes; what the "
        "likeliest token of each frame spells, without a language model, is compared with them."
        + "".join(f" Left out of the {name} side: {causes}." for name, causes in left if causes)
    )
