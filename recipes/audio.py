"""Methods on sound: learn from recordings without their labels, and see what every layer has learnt.

accelerate launch recipes/audio.py                               # CPC, on synthetic speech made here (eSpeak NG)
accelerate launch recipes/audio.py wav2vec2                      # or another method; --help lists them and its options
accelerate launch recipes/audio.py cola                          # on recorded sounds of 76 classes
accelerate launch recipes/audio.py hubert --data.source my_folder --data.held-out 0.05
"""

import copy

from accelerate.utils import set_seed

from evaluation.report import Row, table
from modalities.audio.decode import decode
from modalities.audio.hubert import Hubert
from modalities.audio.sources import load
from recipes.audio_baselines import before_training, classic, supervised
from recipes.audio_card import draw_pictures, stock_class, write_card
from recipes.audio_clusters import cluster_scores
from recipes.audio_features import of_task
from recipes.audio_measure import by_layer, explain, known, measure, shown
from recipes.audio_tasks import PRESETS, Config, build_collate, build_task, identity, prepare
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
    judged = known(data, config.eval)
    if judged is None:
        run.say("There are no labels, speakers or phones at hand: no probes (see data.label_column).")
    collate = build_collate(config, data)
    set_seed(config.train.seed)
    task = build_task(config, data)
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
    some = [decode(row["audio"], row["id"], data.rate, 0.0, config.seconds) for row in data.test.select(range(2))]
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
    note = explain(count_asked(data.test, size, accelerator.num_processes), data, judged, best)
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


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
