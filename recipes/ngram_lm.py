"""A neural n-gram model from scratch: say each next token from the five before it (Bengio et al. 2003, JMLR 3).

accelerate launch recipes/ngram_lm.py                                # Wikipedia articles
accelerate launch recipes/ngram_lm.py --ngram.order 4 --data.source my_folder --train.out runs/mine
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.text.config import DataConfig
from modalities.text.gpt import begin_documents, stack
from modalities.text.ngram_lm import NgramLm, NgramLmConfig
from modalities.text.rows import Rows
from modalities.text.sources import load
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes.gpt_card import draw_pictures, write_card
from recipes.gpt_data import texts_of, training_rows
from recipes.gpt_measure import (
    COLUMNS,
    UNTRAINED,
    EvalConfig,
    before_training,
    counted,
    explain,
    foresee,
    held_out,
    held_out_loss,
)
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish

_LENGTH = 128  # tokens of a row; what the model reads is much shorter


@dataclass(frozen=True)
class Config:
    """Options of the neural n-gram recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(kind="bpe", vocabulary=1024))
    ngram: NgramLmConfig = field(default_factory=NgramLmConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/ngram-lm"), batch_size=8, epochs=3, lr=2e-3, save_every=1000, evaluate_every=500
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


PRESETS = {"laptop": Config()}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():  # one process fills the cache of `datasets`, the others find it
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    texts, unseen = texts_of(data)
    tokenizer = begin_documents(build_tokenizer(config.tokenizer, texts, _LENGTH))
    rows, asked = training_rows(data, texts, tokenizer, _LENGTH), held_out(unseen, tokenizer)
    set_seed(config.train.seed)
    task = NgramLm(config.ngram, tokenizer)
    identity = {
        "ngram": asdict(config.ngram),
        "data": data.fingerprint,
        "tokenizer": digest(tokenizer.get_vocab()),
    }
    task = fit(task, rows, stack, config.train, lambda task, _: held_out_loss(task, asked, _LENGTH), identity)
    if not run.main:
        return

    task.save(run.out / "model")
    some = tokenizer(unseen[:4], padding=True, truncation=True, max_length=_LENGTH, return_tensors="pt")
    inputs = {name: some[name] for name in ("input_ids", "attention_mask")}
    write_check(run.out, task.export(), inputs, {"model": "AutoModelForCausalLM", "processor": "AutoTokenizer"})
    ours = Row("this run", dict(foresee(task, asked.documents, _LENGTH, config.eval.context).scores(asked)))
    device = run.accelerator.device
    others = before_training(UNTRAINED, lambda: NgramLm(config.ngram, tokenizer), asked, _LENGTH, config.eval, device)
    if isinstance(data.train, Rows):
        others += counted(texts, tokenizer, asked, config.eval)
    shown = f"The neural models read the {config.ngram.order - 1} tokens before each, or all there are."
    explained = explain(asked, shown, others)
    table = run.report([*others, ours], COLUMNS, ours.name, explained)
    pictures = draw_pictures(run.out, task, asked, _LENGTH, others)
    write_card(run, task, data, f"{table}\n\n{explained}", ours, pictures, config.eval)
    run.say(f"Saved {run.out / 'model'} for AutoModelForCausalLM.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
