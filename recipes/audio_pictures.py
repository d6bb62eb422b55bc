"""Pictures of an audio run: what the task does, what its features hold, and how it was learnt."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
from recipes.audio_measure import Known, answers
from recipes.audio_table import COLUMNS
from recipes.run import Run

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
    """`AudioTask.code_use` over held-out recordings; without what these are too short to use."""
    found: dict[str, NDArray[np.float64]] = {}
    for batch in _batches(task, rows, collate, np.arange(min(len(rows), _ASKED)), 16):
        for name, counts in task.code_use(batch).items():
            found[name] = found.get(name, 0) + counts.double().cpu().numpy()
    return {name: counts for name, counts in found.items() if counts.any()}


def _batches(task: AudioTask, rows: Rows, collate: Any, places: NDArray[np.int64], size: int) -> Iterator[Batch]:
    device = next(task.parameters()).device
    for first in range(0, len(places), size):
        some = places[first : first + size]
        batch = collate(rows.__getitems__(some.tolist()), mix(some.astype(np.uint64)))
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def _map(run: Run, task: AudioTask, start: AudioTask, data: AudioSet, known: Known) -> dict[str, str]:
    target = known.targets[-1]  # the class or language where there is one
    if target == "phone":
        return {}
    names, wanted = data.speakers if target == "speaker" else data.classes, answers(target, known.test)
    maps, groups = {}, []
    for name, each in (("before training", start), ("this run", task)):
        found = describe(of_task(each), known.test, 0)
        told = wanted[found.kept] >= 0
        maps[name] = list(found.clips.values())[-1][told]
        groups = [names[answer] for answer in wanted[found.kept][told]]
    if len(groups) < 3:
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
