"""Methods on sound: learn from recordings without their labels, and see what every layer has learnt.

accelerate launch recipes/audio.py                               # CPC, on synthetic speech made here (eSpeak NG)
accelerate launch recipes/audio.py wav2vec2                      # or another method; --help lists them and its options
accelerate launch recipes/audio.py cola                          # on recorded sounds of 76 classes
accelerate launch recipes/audio.py hubert --data.source my_folder --data.held-out 0.05
"""

import copy

import numpy as np
import torch
from accelerate.utils import set_seed

from evaluation.report import Row, table
from modalities.audio.decode import decode
from modalities.audio.hubert import Hubert
from modalities.audio.sources import load
from modalities.audio.task import AudioTask
from recipes.audio_baselines import before_training, classic, supervised
from recipes.audio_card import stock_class, write_card
from recipes.audio_clusters import cluster_scores
from recipes.audio_features import of_task, seconds_of
from recipes.audio_measure import known, measure
from recipes.audio_pictures import draw_pictures
from recipes.audio_table import by_layer, explain, shown
from recipes.audio_tasks import METHODS, PRESETS, Config, build_collate, build_task, identity, prepare, samples
from recipes.held_out import count_asked, held_out
from recipes.run import Run, launch
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    accelerator, size = run.accelerator, config.train.batch_size
    with accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}{' (synthetic voices)' if data.synthetic else ''}")
    if len(data.test) == 0:
        raise ValueError(f"{data.name} has no held-out recordings to measure on; raise data.held_out.")
    judged, left_out = known(data, config.eval)
    if left_out:
        run.say(left_out)
    collate = build_collate(config, data)
    set_seed(config.train.seed)
    task = build_task(config, data)
    refuse_if_short(task, config)
    prepare(task, config, data)
    start = copy.deepcopy(task).to(accelerator.device).eval()
    task = fit(
        task,
        data.train,
        collate,
        config.train,
        lambda task, _: {
            key: value
            for key, value in held_out(task, collate, data.test, size, accelerator).items()
            if not key[-1].isdigit()  # accuracy_12 and the like would crowd the picture; the last ones are kept
        },
        identity(config, data),
    )
    asked = held_out(task, collate, data.test, size, accelerator)
    metrics = {f"held_out_{key}": value for key, value in asked.items()}
    bound: list[Row] = []
    if judged is not None and config.eval.supervised_steps:
        bound = supervised(config, judged, data, collate, accelerator)
    if not run.main:
        return

    task.save(run.out / "model")
    longest = data.test.select(np.argsort(-seconds_of(data.test), kind="stable")[:2])
    some = [decode(row["audio"], row["id"], data.rate, 0.0, config.seconds) for row in longest]
    some = [np.pad(each, (0, max(0, samples(config) - len(each)))) for each in some]
    classes = {"model": stock_class(task.export()), "processor": "AutoFeatureExtractor"}
    write_check(run.out, task.export(), task.inputs(some), classes)
    before: list[Row] = []
    best: dict[str, dict[str, str]] = {}
    if judged is not None:
        scores, best["this run"] = measure(of_task(task), judged)
        metrics |= scores | (cluster_scores(task, judged) if isinstance(task, Hubert) else {})
        drawn, layers = before_training(config, data, judged, accelerator.device)
        best |= layers
        before = drawn + (classic(judged, data.rate) if config.eval.classic else [])
    rows = [*before, Row("this run", dict(metrics)), *bound]
    note = explain(count_asked(data.test, size, accelerator.num_processes), data, judged, left_out, best, config.eval)
    results = run.report(rows, shown(rows), "this run", note)
    for target in judged.targets if judged is not None else ():
        some_rows, columns = by_layer(rows, target)
        if columns:
            run.say(f"{target}, by layer:\n{table(some_rows, columns)}\n")
            results += f"\n\nLinear probe by layer, {target}:\n\n{table(some_rows, columns, markdown=True)}"
    pictures = draw_pictures(run, task, start, data, collate, judged, rows, metrics)
    write_card(run, task, data, f"{results}\n\n{note}", metrics, pictures)
    run.say(f"Saved {run.out / 'model'} for {classes['model']}.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


def refuse_if_short(task: AudioTask, config: Config) -> None:
    """Raises ValueError for stretches that give a single frame to a method that tells frames from one another."""
    frames = int(task.frames(torch.tensor([samples(config)]))[0])
    if METHODS[type(config.task)].stretches == 1 and frames < 2:
        raise ValueError(
            f"seconds is {config.seconds:g}, which gives no two frames to tell apart; {10 * task.hop:g} give a few."
        )


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
