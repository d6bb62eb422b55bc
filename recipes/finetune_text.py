"""Fine-tuning: a text model learns from answers (Devlin et al. 2018, arXiv 1810.04805, section 4).

accelerate launch recipes/finetune_text.py --model.start-from runs/bert/model    # which part of the Bible is it from?
accelerate launch recipes/finetune_text.py regression --model.start-from runs/bert/model    # how close are two verses?
accelerate launch recipes/finetune_text.py tokens --model.start-from runs/bert/model    # which words were capitalised?
accelerate launch recipes/finetune_text.py --data.source reviews.csv --data.label-column stars --model.start-from ...

Without model.start-from the model begins from new weights, which is what the table otherwise compares with.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate.utils import set_seed

from evaluation.plots import loss_curve
from evaluation.report import Row
from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes.finetune_text_card import write_finetune_card
from recipes.finetune_text_measure import COLUMNS, Kind, ask, baselines, explain, measure
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the fine-tuning recipe."""

    question: Kind = "classification"
    """A class for a text or a pair (classification), a number for a pair (regression), or which words of a lower-cased
    text were capitalised (tokens)."""
    data: DataConfig = field(default_factory=lambda: DataConfig(source="bible"))
    """Built-in documents are cut into their lines, your own rows are not; of verses, regression takes pairs that are
    the same verse (1), neighbours (0.5) or of other chapters (0)."""
    rows: int = 4000
    """Training rows at most, evenly spaced; half as many held-out ones are judged."""
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(vocabulary=4000))
    """Only without model.start_from, which brings its own."""
    model: ModelConfig = field(default_factory=lambda: ModelConfig(length=64, dropout=0.1))
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/finetune-text"),
            batch_size=32,
            epochs=4,
            lr=1e-3,
            schedule="linear",
            weight_decay=0.01,
            bucket_window=16,
        )
    )
    scratch: int = 1
    """With model.start_from: how often to train the same model from new weights instead, to compare."""
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""

    def __post_init__(self) -> None:
        if self.rows < 10:
            raise ValueError(f"rows is {self.rows}; there is nothing to learn from fewer than 10.")
        if self.scratch < 0:
            raise ValueError(f"scratch is {self.scratch}; it must not be negative.")


def preset(question: Kind, source: str) -> Config:
    """The default, for another question."""
    default = Config()
    train = replace(default.train, out=Path(f"runs/finetune-{question}"))
    return replace(default, question=question, data=DataConfig(source=source), train=train)


PRESETS = {
    "classification": Config(),
    "regression": preset("regression", "verses"),
    "tokens": preset("tokens", "wikipedia"),
}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    length, given = config.model.length, bool(config.model.start_from)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        question = ask(config.question, config.data, config.rows)
    run.say(f"{question.data.name}: {question.data.counts}")
    run.say(
        f"{len(question.train):,} rows to learn from, of {question.at_hand[0]:,}; {len(question.test):,} to judge by, "
        f"of {question.at_hand[1]:,}"
    )
    if not given:
        run.say("model.start_from is empty: the model begins from new weights, not from a pretrained one.")
    options = replace(config.tokenizer, start_from=config.tokenizer.start_from or config.model.start_from)
    tokenizer = build_tokenizer(options, question.texts(), length)
    identity = {
        "question": config.question,
        "data": question.data.fingerprint,
        "rows": config.rows,
        "tokenizer": digest(tokenizer.get_vocab()),
    }
    set_seed(config.train.seed)
    task = question.task(config.model, tokenizer)
    collate = question.collate(tokenizer, task.encoder, length)

    task = fit(
        task,
        question.train,
        collate,
        config.train,
        lambda task, _: measure(task, question, collate),
        identity | {"model": asdict(config.model)},
    )
    scores = []
    for seed in range(config.scratch if given else 0):
        set_seed(1000 + seed)
        new = question.task(config.model, tokenizer)
        new.forget()
        again = replace(config.train, out=run.out / f"new-weights-{seed}", seed=1000 + seed, evaluate_every=0)
        new = fit(new, question.train, collate, again, identity=identity | {"new weights": seed})
        scores.append(measure(new, question, collate))
    if not run.main:
        return

    others = baselines(question)
    task.save(run.out / "model")
    some = collate([question.test[place] for place in range(min(8, len(question.test)))])
    auto = f"AutoModelFor{'Token' if config.question == 'tokens' else 'Sequence'}Classification"
    inputs = {name: tensor for name, tensor in some.items() if name != "labels"}
    write_check(run.out, task.encoder, inputs, {"model": auto, "processor": "AutoTokenizer"})
    if scores:
        others.append(Row("from new weights", {key: [each[key] for each in scores] for key in scores[0]}))
    ours = Row("this run" if given else "this run, from new weights", dict(measure(task, question, collate)))
    note = explain(question)
    table = run.report([*others, ours], COLUMNS, ours.name, note)
    loss_curve(run.out / "metrics.jsonl", run.out / "loss.png", asked="held-out rows")
    write_finetune_card(run, task.encoder, question, f"{table}\n\n{note}", ours, config.model.start_from)
    run.say(f"Saved {run.out / 'model'} for {auto}.from_pretrained; picture and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
