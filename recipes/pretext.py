"""Pretext tasks on images: predict the part that is hidden, and see what the encoder has learnt.

accelerate launch recipes/pretext.py                             # rotation, on photographs that PyPI packages carry
accelerate launch recipes/pretext.py jigsaw                      # or another task; --help lists them and its options
accelerate launch recipes/pretext.py mae --data.source my_folder --model.image-size 96 --views.side 96
"""

from dataclasses import replace

from accelerate.utils import set_seed

from evaluation.report import table
from recipes.held_out import count_asked, held_out
from recipes.pretext_card import COLUMNS, draw_pictures, shown
from recipes.pretext_tasks import (
    PRESETS,
    Config,
    asked_of,
    build_collate,
    build_task,
    described,
    prepare,
    untrained,
    with_new_weights,
)
from recipes.run import launch
from recipes.vision_card import write_card
from recipes.vision_config import identity
from recipes.vision_labels import as_table
from recipes.vision_measure import by_layer, explain
from recipes.vision_run import Found, at_start, begin, frozen, save, with_labels
from trainers.loop import fit
from trainers.publish import publish


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run, data, known = begin(config)
    accelerator, size = run.accelerator, config.train.batch_size
    collate, rows = build_collate(config, data), asked_of(config, data)
    set_seed(config.train.seed)
    task = build_task(config, data)
    prepare(task, config, data)
    encoders = at_start(config, task, lambda: with_new_weights(config, data), accelerator)
    task = fit(
        task,
        data.train,
        collate,
        config.train,
        lambda task, _: held_out(task, collate, rows, size, accelerator),
        identity(config, data),
    )
    encoders = replace(encoders, trained=task.export())
    found = Found({f"held_out_{key}": value for key, value in held_out(task, collate, rows, size, accelerator).items()})
    if known is not None:
        with_labels(found, encoders, known, data, config, run)
    if not run.main:
        return

    save(task, data, config, run)
    if known is not None:
        frozen(found, encoders, untrained(config, data), known, config, run)
    asked = f"{count_asked(rows, size, accelerator.num_processes)} {described(config)}"
    note = explain(f"The pretext task is asked of {asked}.", known, found.best)
    results = run.report(found.rows, shown(COLUMNS, found.rows), "this run", note)
    for words, more in (("Linear probe by layer:", by_layer(found.rows)), ("By labels:", as_table(found.curves))):
        if more[0]:
            run.say(f"{words}\n{table(*more)}\n")
            results += f"\n\n{words}\n\n{table(*more, markdown=True)}"
    pictures = draw_pictures(config, task, encoders.start, data, known, found.curves)
    write_card(run, task, data, f"{results}\n\n{note}", found.metrics, pictures, "pretext-task")
    run.say(f"Saved {run.out / 'model'} for AutoModel.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
