"""Pretext tasks on images: predict the part that is hidden, and see what the encoder has learnt.

accelerate launch recipes/pretext.py                             # rotation, on photographs that PyPI packages carry
accelerate launch recipes/pretext.py jigsaw                      # or another task; --help lists them and its options
accelerate launch recipes/pretext.py mae --data.source my_folder --model.image-size 96 --views.side 96
"""

import copy

from accelerate.utils import set_seed

from evaluation.report import Row, table
from modalities.pictures.batches import pixel_batches
from modalities.vision.backbones import build_image_processor
from modalities.vision.published import as_auto_model
from modalities.vision.sources import load
from recipes.held_out import count_asked, held_out
from recipes.pretext_baselines import before_training, classic
from recipes.pretext_card import draw_pictures, write_card
from recipes.pretext_labels import as_table, few_labels, learn_labels
from recipes.pretext_measure import (
    COLUMNS,
    by_layer,
    explain,
    labelled,
    measure,
    shown,
    why_unlabelled,
)
from recipes.pretext_tasks import (
    PRESETS,
    Config,
    asked_of,
    build_collate,
    build_task,
    described,
    identity,
    prepare,
    untrained,
    with_new_weights,
)
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
    run.say(f"{data.name}: {data.counts}")
    if len(data.test) == 0:
        raise ValueError(f"{data.name} has no held-out images to measure on; raise data.held_out.")
    known = labelled(data, config.eval)
    if known is None:
        run.say(why_unlabelled(data))
    processor = build_image_processor(config.model)
    collate, rows = build_collate(config, data), asked_of(config, data)
    set_seed(config.train.seed)
    task = build_task(config, data)
    prepare(task, config, data)
    start = copy.deepcopy(task.export()).to(accelerator.device).eval()
    unlearnt = (
        with_new_weights(config, data).export().to(accelerator.device).eval() if config.model.start_from else start
    )
    task = fit(
        task,
        data.train,
        collate,
        config.train,
        lambda task, _: held_out(task, collate, rows, size, accelerator),
        identity(config, data),
    )
    metrics = {f"held_out_{key}": value for key, value in held_out(task, collate, rows, size, accelerator).items()}
    trained = task.export()
    others, curves, best = [], {}, {}
    if known is not None and len(known.train) >= accelerator.num_processes:
        if config.eval.supervised_epochs:
            bound = learn_labels(unlearnt, "supervised", known, data, config, accelerator)
            others.append(Row("supervised", dict(bound)))
            metrics |= learn_labels(trained, "fine-tuned", known, data, config, accelerator)
        curves = few_labels(unlearnt, trained, known, data, config, accelerator) if config.eval.fractions else {}
    if not run.main:
        return

    task.save(run.out / "model")
    processor.save_pretrained(run.out / "model")
    inputs = {"pixel_values": next(pixel_batches(data.test.select(range(min(8, len(data.test)))), processor))}
    write_check(run.out, as_auto_model(trained), inputs, {"model": "AutoModel", "processor": "AutoImageProcessor"})
    before: list[Row] = []
    if known is not None:
        found, best["this run"] = measure(trained, known, processor)
        metrics |= found
        if config.model.start_from:
            given, best["before training"] = measure(start, known, processor)
            before.append(Row("before training", dict(given)))
        drawn, layer = before_training(untrained(config, data), known, processor, config.eval.seeds, accelerator.device)
        best |= layer
        before += drawn + (classic(known) if config.eval.classic else [])
    table_rows = [*before, Row("this run", dict(metrics)), *others]
    asked = f"{count_asked(rows, size, accelerator.num_processes)} {described(config)}"
    note = explain(asked, known, best)
    results = run.report(table_rows, shown(COLUMNS, table_rows), "this run", note)
    for words, more in (("Linear probe by layer:", by_layer(table_rows)), ("By labels:", as_table(curves))):
        if more[0]:
            run.say(f"{words}\n{table(*more)}\n")
            results += f"\n\n{words}\n\n{table(*more, markdown=True)}"
    pictures = draw_pictures(config, task, start, data, known, curves)
    write_card(run, task, data, f"{results}\n\n{note}", metrics, pictures)
    run.say(f"Saved {run.out / 'model'} for AutoModel.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
