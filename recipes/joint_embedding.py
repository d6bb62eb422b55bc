"""Joint embeddings of images: know a picture by any view of it, and see what the encoder has learnt.

accelerate launch recipes/joint_embedding.py                 # SimCLR, on photographs that PyPI packages carry
accelerate launch recipes/joint_embedding.py byol            # or another method; --help lists them and its options
accelerate launch recipes/joint_embedding.py dino --eval.transfer openmoji,digits --eval.fractions 0.01,0.1,1
"""

from dataclasses import replace

from accelerate.utils import set_seed

from evaluation.report import table
from modalities.pictures.rows import Rows
from modalities.vision.backbones import build_image_processor
from recipes.held_out import count_asked, held_out
from recipes.joint_build import asked, build_collate, build_task, effort, made_by, untrained, with_new_weights
from recipes.joint_card import COLUMNS, draw_pictures
from recipes.joint_labels import few_seen, note_on_labels, trained_with
from recipes.joint_measure import Watch, read_other, robustness, robustness_table, transfer
from recipes.joint_tasks import PRESETS, Config
from recipes.run import launch
from recipes.vision_card import write_card
from recipes.vision_labels import as_table
from recipes.vision_measure import by_layer, explain
from recipes.vision_run import Found, at_start, begin, frozen, save, with_labels
from trainers.loop import fit
from trainers.publish import publish


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run, data, known = begin(config)
    accelerator, size = run.accelerator, config.train.batch_size
    with accelerator.main_process_first():
        others = {name: read_other(name, config.data.side, config.eval) for name in config.eval.others}
    set_seed(config.train.seed)
    task = build_task(config, data)
    collate = build_collate(config, task, data)
    own = asked(config, task, data)
    asking, rows, where = own
    run.say(effort(config, task, len(data.train) if isinstance(data.train, Rows) else 0, accelerator.num_processes))
    encoders = at_start(config, task, lambda: with_new_weights(config, data), accelerator)
    processor = build_image_processor(config.model)
    watch = Watch(known, processor, config.eval.watched) if known and config.eval.watched and run.main else None
    task = fit(
        task,
        data.train,
        collate,
        config.train,
        lambda task, _: (
            held_out(task, asking, rows, size, accelerator) | (watch(task.export().eval()) if watch else {})
        ),
        made_by(config, data),
    )
    encoders = replace(encoders, trained=task.export().eval())
    found = Found({f"held_out_{name}": v for name, v in held_out(task, asking, rows, size, accelerator).items()})
    if known is not None:
        with_labels(found, encoders, known, data, config, run, task.labelled)
        few_seen(found, task, encoders, known, data, config, run)
    if not run.main:
        return

    save(task, data, config, run)
    more, shifts = [], {}
    if known is not None:
        frozen(found, encoders, untrained(config, data), known, config, run)
        if config.eval.robust:
            shown = {"random initialisation": encoders.unlearnt, "this run": encoders.trained}
            shown |= {"supervised": found.supervised} if found.supervised else {}
            shifts = robustness(shown, known, processor, config.data.side, config.eval.robust)
            more.append(("Probes fitted on clean images, on shifted ones:", robustness_table(shifts)))
    if others:
        draw = untrained(config, data)["random initialisation"]
        elsewhere = transfer(others, encoders.trained, draw, processor, config.eval.seeds)
        more.append(("On other data:", elsewhere))
    count = f"{count_asked(rows, size, accelerator.num_processes)} {where}"
    on_labels = note_on_labels(config, data, known, accelerator.num_processes)
    note = explain(f"Its own loss is of {count}.{on_labels}", known, found.best)
    results = run.report(found.rows, COLUMNS, "this run", note)
    more = [("Linear probe by layer:", by_layer(found.rows)), ("By labels:", as_table(found.curves)), *more]
    for words, (rows_of, columns) in more:
        if rows_of:
            run.say(f"{words}\n{table(rows_of, columns)}\n")
            results += f"\n\n{words}\n\n{table(rows_of, columns, markdown=True)}"
    pictures = draw_pictures(config, task, encoders.start, data, known, found.curves, shifts, own)
    labels = trained_with(config, data)
    write_card(run, task, data, f"{results}\n\n{note}", found.metrics, pictures, "joint-embedding", labels)
    run.say(f"Saved {run.out / 'model'} for AutoModel.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
