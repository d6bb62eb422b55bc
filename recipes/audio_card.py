"""What an audio run leaves for people: pictures and a model card."""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from huggingface_hub import EvalResult
from numpy.typing import NDArray
from transformers import PreTrainedModel

from evaluation.clip_map import clip_map
from evaluation.curves import layer_curve, step_curves, use_chart
from evaluation.plots import loss_curve
from evaluation.report import Row
from evaluation.spectrograms import Panel, spectrogram_sheet
from modalities.audio.features import log_mel
from modalities.audio.rows import AudioSet, Phones, Rows
from modalities.audio.task import AudioTask
from modalities.draws import mix
from modalities.task import Batch
from recipes.audio_features import describe, of_task
from recipes.audio_measure import COLUMNS, Known
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_EXAMPLES = 5
_ASKED = 256  # held-out recordings whose codes are counted
_WITH_WORDS = 3.0  # seconds of a stretch up to which there is room for its phones
_ON = {"phone": "frames", "voice": "frames"}


def draw_pictures(
    run: Run,
    task: AudioTask,
    start: AudioTask,
    data: AudioSet,
    collate: Any,
    known: Known | None,
    rows: Sequence[Row],
    ours: dict[str, float],
) -> dict[str, str]:
    """What the task does, what its features hold, and how it was learnt: {file: caption}.

    start: the task before this run; rows: of the table; ours: the scores of this run.
    """
    out, credit = run.out, data.credit
    sheet(task, data.test, collate, out / "task.png", credit)
    pictures = {"task.png": "What a step sees of held-out recordings; what is hidden or asked for is paler"}
    if known is not None:
        pictures |= _map(run, task, start, data, known)
        for target in known.targets:
            pictures |= _by_layer(run, rows, target)
    ahead = {
        int(found[1]): share for key, share in ours.items() if (found := re.fullmatch(r"held_out_accuracy_(\d+)", key))
    }
    if ahead:
        step_curves(out / "metrics.jsonl", "accuracy", out / "steps.png", ahead, credit=credit)
        pictures["steps.png"] = "How often the right frame was found, by how many frames ahead it lies"
    uses = code_use(task, data.test, collate)
    if uses:
        use_chart(uses, out / "codes.png", credit=credit)
        pictures["codes.png"] = "How evenly the codes are used on held-out recordings"
    loss_curve(out / "metrics.jsonl", out / "loss.png", asked="held-out recordings")
    return pictures | {"loss.png": "Loss, and the pretext task on held-out recordings while training"}


def sheet(task: AudioTask, rows: Rows, collate: Any, path: Any, credit: str = "") -> None:
    """Spectrograms of what the task does on a few recordings: drawn, not chosen, the same ones and stretches each time.
    Where the phones are known and there is room, they stand below."""
    places = np.random.default_rng(0).permutation(len(rows))[:_EXAMPLES]
    batch = next(_batches(task, rows, collate, places, _EXAMPLES))
    with torch.no_grad():
        columns = task.illustrate(batch)
    panels: dict[str, list[Panel]] = {}
    for title, (audio, marked) in columns.items():
        seconds = audio.shape[1] / task.rate
        power = log_mel(audio.float(), task.rate).cpu().numpy()  # (n, f, bands)
        for number, place in enumerate(places.tolist()):
            words: list[tuple[float, float, str]] = []
            phones = rows.phones[place]
            if phones is not None and batch["starts"].ndim == 1 and seconds <= _WITH_WORDS:
                words = heard(phones, float(batch["starts"][number]), seconds)
            mark = None if marked is None else marked[number].cpu().numpy()
            panels.setdefault(title, []).append(Panel(power[number], seconds, mark, words))
    spectrogram_sheet(panels, path, credit=credit)


def heard(phones: Phones, start: float, seconds: float) -> list[tuple[float, float, str]]:
    """The phones of a stretch: when each begins and ends, in seconds of the stretch, and its name."""
    ends = np.append(phones.starts[1:], np.inf)
    return [
        (max(0.0, float(begin) - start), min(seconds, float(end) - start), name)
        for begin, end, name in zip(phones.starts, ends, phones.names, strict=True)
        if begin < start + seconds and end > start
    ]


@torch.no_grad()
def code_use(task: AudioTask, rows: Rows, collate: Any) -> dict[str, NDArray[np.float64]]:
    """`AudioTask.code_use` over held-out recordings."""
    found: dict[str, NDArray[np.float64]] = {}
    for batch in _batches(task, rows, collate, np.arange(min(len(rows), _ASKED)), 16):
        for name, counts in task.code_use(batch).items():
            found[name] = found.get(name, 0) + counts.double().cpu().numpy()
    return found


def _batches(task: AudioTask, rows: Rows, collate: Any, places: NDArray[np.int64], size: int) -> Iterator[Batch]:
    device = next(task.parameters()).device
    for first in range(0, len(places), size):
        some = places[first : first + size]
        batch = collate(rows.__getitems__(some.tolist()), mix(some.astype(np.uint64)))
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def _map(run: Run, task: AudioTask, start: AudioTask, data: AudioSet, known: Known) -> dict[str, str]:
    target = known.targets[-1]  # the class or language where there is one
    names, values = (data.speakers, known.test.speakers) if target == "speaker" else (data.classes, known.test.labels)
    maps, kept = {}, np.arange(0)
    for name, each in (("before training", start), ("this run", task)):
        found = describe(of_task(each), known.test, 0)
        maps[name], kept = list(found.clips.values())[-1], found.kept
    groups = [names[label] for place in kept if (label := values[place]) is not None]
    if len(groups) < 3 or target == "phone":
        return {}
    drawn = clip_map(maps, groups, run.out / "map.png", credit=data.credit)
    return {"map.png": f"{drawn} held-out recordings, near where their features are alike (t-SNE), by {target}"}


def _by_layer(run: Run, rows: Sequence[Row], target: str) -> dict[str, str]:
    heading = next(column.heading for column in COLUMNS if column.key == target)
    curves = {
        row.name: {key.partition("/")[2]: value for key, value in row.metrics.items() if key.startswith(f"{target}/")}
        for row in rows
    }
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not curves:
        return {}
    levels: dict[str, float] = {}
    for row in rows:
        value = row.metrics.get(target)
        if row.name not in curves and value is not None:
            levels[row.name] = float(np.mean(value))
    name = f"{target}_by_layer.png"
    on = _ON.get(target, "recordings")
    layer_curve(curves, levels, run.out / name, ylabel=f"{heading}: right of held-out {on}, %")
    return {name: f"Linear probe of each layer, {heading}"}


def name_of(task: AudioTask) -> str:
    """The method in words: CPC, wav2vec 2.0."""
    found = {"Wav2Vec2": "wav2vec 2.0", "Hubert": "HuBERT", "MultiFormat": "multi-format contrast"}
    name = type(task).__name__
    return found.get(name) or " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]+", name))


def paper_of(task: AudioTask) -> str:
    """The paper as the method's file names it."""
    return (inspect.getdoc(sys.modules[type(task).__module__]) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")


def stock_class(model: PreTrainedModel) -> str:
    """The class of transformers that loads it: AutoModel where it ships its own file."""
    return type(model).__name__ if type(model).__module__.startswith("transformers.") else "AutoModel"


def write_card(
    run: Run,
    task: AudioTask,
    data: AudioSet,
    results: str,
    scores: dict[str, float],
    pictures: dict[str, str],
) -> None:
    """README.md of the output folder."""
    model, name = task.export(), name_of(task)
    loader = stock_class(model)
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    of = "synthetic speech" if data.synthetic else "recordings"
    count = f"{data.counts['train']:,} {of}" if "train" in data.counts else f"a stream of {of}"
    if data.synthetic and "hours" in data.counts:
        count = f"{data.counts['hours']:g} hours of synthetic speech (training and held-out)"
    takes = "pixel_values=inputs.input_values[:, None]" if model.main_input_name == "pixel_values" else "**inputs"
    trust = ", trust_remote_code=True" if loader == "AutoModel" else ""
    load = (
        f"from transformers import AutoFeatureExtractor, {loader}\n\n"
        f'model = {loader}.from_pretrained("model"{trust})    # or the name of the repository\n'
        'extractor = AutoFeatureExtractor.from_pretrained("model")\n'
        f'inputs = extractor(samples, sampling_rate={task.rate}, return_tensors="pt")    # mono, in about [-1, 1]\n'
        f"outputs = model({takes}, output_hidden_states=True)"
    )
    limits = "A small encoder that has heard little. Only what stands in the table was measured."
    if data.synthetic:
        limits += (
            " All of its voices are a synthesiser's (eSpeak NG): what it is worth on recorded speech is not known, and "
            "numbers here cannot be compared with those of recorded speech."
        )
    named = {column.key: column.heading for column in COLUMNS}
    card = model_card(
        title=f"{name[0].upper()}{name[1:]} on {data.name}",
        summary=(
            f"A {type(model).__name__} ({size:.1f} M parameters) trained without labels on {count} by {paper_of(task)}."
        ),
        licence=data.licence,
        pipeline_tag="feature-extraction",
        tags=["audio", *(["speech", "synthetic-voices"] if data.synthetic else []), name.replace(" ", "-")],
        load=load,
        data=[DataSource(data.name, data.licence, data.credit)],
        results=results,
        limits=limits,
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="feature-extraction",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type="accuracy",
                metric_value=round(scores[key], 4),
                metric_name=named[key],
            )
            for key in ("phone", "voice", "speaker", "class", "language")
            if key in scores
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
