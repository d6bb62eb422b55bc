"""What a model fine-tuned on transcripts leaves for people: pictures and its card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult

from evaluation.plots import loss_curve
from evaluation.posteriorgram import posteriorgram
from modalities.audio.backbones import masks_padding
from modalities.audio.ctc import CTC
from modalities.audio.features import log_mel
from modalities.audio.rows import AudioSet
from modalities.audio.transcripts import SPACE, Transcribed
from recipes.audio_card import UNPADDED
from recipes.finetune_audio_measure import COLUMNS
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_EXAMPLES = 5
_LOAD = """
from transformers import AutoProcessor, {model}

model, processor = {model}.from_pretrained("model"), AutoProcessor.from_pretrained("model")
inputs = processor(samples, sampling_rate={rate}, return_tensors="pt")    # samples (t,), mono
print(processor.batch_decode(model(**inputs).logits.argmax(-1)))
"""


def draw_pictures(
    out: Path, task: CTC, test: Transcribed, collate: Any, heard: Sequence[str], credit: str
) -> dict[str, str]:
    """When which character is heard, and the loss: {file: caption}. The first held-out recording, not a chosen one."""
    batch = {name: tensor.to(task.encoder.device) for name, tensor in collate([test[0]]).items()}
    seconds, frames = float(batch["lengths"][0]) / task.rate, int(task.frames(batch["lengths"])[0])
    with torch.no_grad():
        shares = task.scores(batch["audio"], batch["lengths"])[0, :frames].float().softmax(-1).cpu().numpy()
    names = task.tokenizer.convert_ids_to_tokens(range(shares.shape[1]))
    shown = ["(nothing)", *("(space)" if name == SPACE else name for name in names[1:])]
    power = log_mel(batch["audio"][0, : int(batch["lengths"][0])].cpu(), task.rate).numpy()
    path = out / "posteriorgram.png"
    posteriorgram(power, shares, shown, seconds, path, said=test.texts[0], heard=heard[0], credit=credit)
    loss_curve(out / "metrics.jsonl", out / "loss.png", asked="held-out recordings")
    return {
        "posteriorgram.png": "A held-out recording, and how likely each character is at each moment",
        "loss.png": "Loss, and error rates on held-out recordings while training",
    }


def write_finetune_card(
    run: Run,
    task: CTC,
    data: AudioSet,
    train: Transcribed,
    results: str,
    said: Sequence[str],
    heard: Sequence[str],
    scores: dict[str, float],
    pictures: dict[str, str],
    start: str,
) -> None:
    """README.md of the output folder. start: the checkpoint that training began from, or nothing."""
    size = sum(weight.numel() for weight in task.encoder.parameters()) / 1e6
    model = type(task.encoder).__name__
    titles = {column.key: column.title for column in COLUMNS if column.percent}
    lines = [f"| {left} | {right} |" for left, right in zip(said[:_EXAMPLES], heard[:_EXAMPLES], strict=True)]
    examples = "\n".join(["The first held-out recordings:", "", "| said | heard |", "|---|---|", *lines])
    voices = "synthetic voices" if data.synthetic else "voices like those"
    card = model_card(
        title=f"Transcripts of {data.name}",
        summary=(
            f"A {model} ({size:.1f} M parameters) fine-tuned by CTC on {len(train):,} transcribed recordings, starting "
            f"from {start or 'new weights'}: Baevski et al. 2020, [2006.11477](https://arxiv.org/abs/2006.11477), "
            "section 3.3."
        ),
        licence=data.licence,
        pipeline_tag="automatic-speech-recognition",
        tags=["audio", "speech", "ctc", "fine-tuned"],
        load=_LOAD.format(model=model, rate=task.rate),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=f"{results}\n\n{examples}",
        limits=(
            f"It hears the {voices} that it learnt from, reading texts like theirs, and writes neither digits nor "
            "punctuation. Only what stands in the table was measured; biases of the data were not."
            + (" The checkpoint may have heard the held-out recordings, without their transcripts." if start else "")
            + ("" if masks_padding(task.encoder.config) else f" {UNPADDED}")
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="automatic-speech-recognition",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type=key,
                metric_value=round(scores[key], 4),
                metric_name=name,
            )
            for key, name in titles.items()
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
