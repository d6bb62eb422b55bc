"""One vector per sentence: SimCSE and others, and how far people agree with their cosines.

accelerate launch recipes/sentences.py                        # SimCSE, on sentences that PyPI packages carry
accelerate launch recipes/sentences.py simcse-supervised      # or another method; --help lists them and their options
accelerate launch recipes/sentences.py --model.start-from runs/bert/model
accelerate launch recipes/sentences.py sbert --data.source pairs.csv --data.text-column a,b --data.label-column same
"""

from dataclasses import replace

from accelerate.utils import set_seed

from modalities.text.backbones import build_model
from modalities.text.rows import Rows
from modalities.text.sources import load
from modalities.text.tokenizer import build_tokenizer
from recipes.run import Run, launch
from recipes.sentences_baselines import before_training, classic, supervised
from recipes.sentences_card import draw_pictures, write_card
from recipes.sentences_measure import COLUMNS, explain, prepare, similarity, without
from recipes.sentences_post import compare, post_process, published, published_encode
from recipes.sentences_pretrain import pretrained
from recipes.sentences_tasks import (
    PRESETS,
    Config,
    build_collate,
    build_task,
    encoder_of,
    form,
    identity,
    refuse_early,
    refuse_lone_rows,
    training_rows,
)
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    refuse_lone_rows(config, run.accelerator.num_processes)
    refuse_early(config)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data, judged = load(config.data), prepare(config.eval)
    run.say(f"{data.name}: {data.counts}")
    if not isinstance(data.train, Rows):
        raise ValueError("data.stream is set, but this recipe reads its sentences more than once; drop it.")
    documents = without(data.train, judged.barred)
    rows = training_rows(config, documents)
    learnt = form(config, rows)
    before = config.model.start_from
    seen = f"what {before} read before is not known" if before else "nothing judged is among them"
    run.say(f"{len(rows):,} rows to learn from, of {len(documents):,} documents or pairs; {seen}")
    if learnt:
        run.say(learnt)
    texts = [text for texts in documents.texts for text in texts]
    options = replace(config.tokenizer, start_from=config.tokenizer.start_from or config.model.start_from)
    tokenizer = build_tokenizer(options, texts, config.model.length)
    named = identity(config, data, judged.barred, tokenizer)
    start = pretrained(config, texts, tokenizer, named, run)
    set_seed(config.train.seed)
    task = build_task(config, build_model(start, tokenizer), tokenizer)
    task = fit(
        task,
        rows,
        build_collate(config, tokenizer),
        config.train,
        lambda task, _: similarity(encoder_of(task), judged),
        named,
    )
    post = post_process(config, task, rows, named, run)
    bound = supervised(config, start, tokenizer, judged, named, run)
    if not run.main:
        return

    model = published(task, post, run)
    some = tokenizer(judged.first[:4], padding=True, truncation=True, max_length=task.length, return_tensors="pt")
    inputs = {name: some[name] for name in ("input_ids", "attention_mask")}
    write_check(run.out, model, inputs, {"model": "SentenceTransformer", "processor": "AutoTokenizer"})
    ours, more = compare(task, post, judged)
    others = before_training(config, start, tokenizer, judged, run.accelerator.device)
    others += classic(texts, judged) if config.eval.classic else []
    note = explain(judged)
    table = run.report([*others, ours, *more, *bound], COLUMNS, ours.name, note)
    encode = published_encode(task, post)
    pictures = draw_pictures(run.out, encode, judged)
    if post is not None and post.whitening is not None:
        learnt += " Its vectors are whitened."
    if before:
        learnt += f" It started from {before}; what that read before is not known."
    write_card(run, task, encode, data, judged, learnt.strip(), f"{table}\n\n{note}", ours.metrics, pictures)
    run.say(f"Saved {run.out / 'model'} for SentenceTransformer and AutoModel; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
