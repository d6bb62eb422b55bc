"""What an audio-text run leaves for people: pictures and a model card."""

from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from evaluation.arrays import matrix, unit_rows
from evaluation.figures import GREEN, INK, figure, finish, show
from evaluation.plots import loss_curve, similarity_matrix
from modalities.audio.audio_text import AudioText
from modalities.audio.audio_text_collate import SoundTextCollate
from modalities.audio.rows import AudioSet
from recipes.audio_text_measure import asked, explain, hear, read
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_PAIRS, _QUERIES, _NEAREST = 12, 8, 5


def draw_pictures(
    out: Path, task: AudioText, collate: SoundTextCollate, data: AudioSet, chance: float
) -> dict[str, str]:
    """Held-out sounds with the descriptions found for them, similarities of pairs, and the loss curve (with the loss of
    guessing): {file: caption}."""
    credit = f"Sounds: {data.credit}" if data.credit else ""
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=chance, asked="held-out recordings")
    ids, texts, keys = asked(data.test)
    sounds = unit_rows(matrix(hear(task, collate, data.test)[0], "sounds"))  # (n, d)
    cosines = sounds @ unit_rows(matrix(read(task, collate, texts), "texts")).T  # (n, m)
    # Drawn, not chosen: a picked example shows what its picker wishes.
    drawn = np.random.default_rng(0).permutation(len(ids))
    _found_sheet(out / "found.png", task, collate, data, drawn[:_QUERIES], cosines, credit)
    # One recording of each description, so that one cell of a row is right.
    places = {int(np.flatnonzero(keys == ids[place])[0]): int(place) for place in drawn[::-1]}
    columns = list(dict.fromkeys(int(np.flatnonzero(keys == ids[place])[0]) for place in drawn))[:_PAIRS]
    similarity_matrix(
        cosines[np.ix_([places[column] for column in columns], columns)].T,
        out / "similarity.png",
        captions=[texts[column] for column in columns],
        credit=credit,
        across="a recording of each",
    )
    return {
        "found.png": "Held-out recordings and the five descriptions nearest to each; the right one is green",
        "similarity.png": "Cosines between descriptions and a held-out recording of each",
        "loss.png": "Loss, and retrieval while training",
    }


def _found_sheet(
    path: Path,
    task: AudioText,
    collate: SoundTextCollate,
    data: AudioSet,
    queries: np.ndarray,
    cosines: np.ndarray,
    credit: str,
) -> None:
    """A spectrogram of each query, what it is, and the descriptions nearest to it."""
    ids, texts, keys = asked(data.test)
    batch = collate.window([data.test[int(query)] for query in queries])
    device = task.encoder.device
    heard = task.features({name: batch[name].to(device) for name in ("audio", "lengths")})[:, 0]  # (n, f, bands)
    drawing = figure(9.5, 0.6 + 0.95 * len(queries))
    grid = drawing.add_gridspec(len(queries), 3, width_ratios=[1.2, 1.8, 6.5])
    for number, query in enumerate(queries.tolist()):
        show(drawing.add_subplot(grid[number, 0]), heard[number].float().cpu().numpy().T[::-1], INK)
        asking, answers = (drawing.add_subplot(grid[number, place]) for place in (1, 2))
        for axes in (asking, answers):
            axes.set_axis_off()
        asking.text(0, 0.5, data.test.texts[query][0], va="center", fontsize=10, color=INK, parse_math=False)
        for place, found in enumerate(np.argsort(-cosines[query])[:_NEAREST].tolist()):
            right = keys[found] == ids[query]
            words = f"{texts[found]}  {cosines[query, found]:.2f}"
            answers.text(
                (place % 3) / 3, 0.75 - 0.5 * (place // 3), words, va="center", fontsize=9, parse_math=False,
                color=GREEN if right else INK, weight="bold" if right else "normal",
            )  # fmt: skip
    finish(drawing, path, "", credit)


def write_card(
    run: Run, task: AudioText, data: AudioSet, table: str, scores: dict[str, float], pictures: dict[str, str]
) -> None:
    """README.md of the output folder."""
    size = sum(weight.numel() for weight in task.encoder.parameters()) / 1e6
    count = f"{data.counts['train']:,} recordings" if "train" in data.counts else "a stream of recordings"
    extractor = task.processor.feature_extractor
    results = [
        EvalResult(
            task_type="audio-text-retrieval",
            dataset_type=data.name,
            dataset_name=data.name,
            metric_type="recall@1",
            metric_value=round(scores[name], 4),
            metric_name=f"{name.removesuffix('_r1').replace('_', ' ')} recall@1",
        )
        for name in ("text_to_audio_r1", "audio_to_text_r1")
    ]
    card = model_card(
        title=f"CLAP on {data.name}",
        summary=(
            f"Audio and text towers ({size:.1f} M parameters) trained from descriptions on {count} with the "
            f"contrastive objective of CLIP and CLAP ([2206.04769](https://arxiv.org/abs/2206.04769), "
            f"[2211.06687](https://arxiv.org/abs/2211.06687)). It hears {extractor.max_length_s} s at "
            f"{extractor.sampling_rate:,} samples a second."
        ),
        licence=data.licence,
        pipeline_tag="zero-shot-audio-classification",
        tags=["clap", "audio-text"],
        load=(
            "from transformers import ClapModel, ClapProcessor\n\n"
            'model = ClapModel.from_pretrained("model")    # or the name of the repository\n'
            'processor = ClapProcessor.from_pretrained("model")\n'
            f"# processor(text=..., audio=..., sampling_rate={extractor.sampling_rate}); of a longer sound it takes "
            "a stretch by chance: cut it yourself"
        ),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=f"{table}\n\n{explain(data)}",
        limits=(
            "It knows what its descriptions name and nothing else. Only what stands in the table was measured; biases "
            "of the data were not."
        ),
        pictures=pictures,
        scores=results,
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
