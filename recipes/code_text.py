"""Code search from scratch: functions found by what their docstrings say, as in CodeSearchNet (Husain et al. 2019,
arXiv 1909.09436).

accelerate launch recipes/code_text.py                       # functions of the Python standard library
accelerate launch recipes/code_text.py --data.source pairs.parquet --data.text-column docstring,code
accelerate launch recipes/code_text.py paper --data.source code-search-net/code_search_net \\
    --data.text-column func_documentation_string,func_code_string --data.test-split test

One encoder reads both sides, and is saved as a `SentenceTransformer`.
"""

from dataclasses import asdict, dataclass, field, replace
from math import log
from pathlib import Path

from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.code_text import CodeText, CodeTextCollate, CodeTextConfig
from modalities.text.config import DataConfig
from modalities.text.rows import Rows
from modalities.text.sources import load
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes.code_text_card import draw_pictures, write_card
from recipes.code_text_measure import COLUMNS, EvalConfig, before_training, classic, encoder_of, explain, measure
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the code search recipe."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="standard-library", held_out=0.15))
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig(layers=1, length=64))
    task: CodeTextConfig = field(default_factory=lambda: CodeTextConfig(query_length=32, code_length=64))
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/code-text"), batch_size=128, epochs=4, lr=2e-3, weight_decay=0.1, evaluate_every=36
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""

    def __post_init__(self) -> None:
        longest = max(self.task.query_length, self.task.code_length)
        if longest > self.model.length:
            raise ValueError(f"model.length {self.model.length} is too short for texts of {longest} tokens; raise it.")


PRESETS = {
    "laptop": Config(),
    "paper": Config(
        data=DataConfig(source=""),
        tokenizer=TokenizerConfig(kind="bpe", vocabulary=30_000),
        model=ModelConfig(family="roberta", width=768, layers=12, heads=12, feed_forward=3072, length=256),
        task=CodeTextConfig(query_length=64, code_length=256, hidden_names=0.0),
        train=TrainConfig(
            out=Path("runs/code-text-paper"),
            batch_size=1024,
            micro_batch=128,
            epochs=20,
            lr=3e-4,
            weight_decay=0.01,
            workers=8,
            save_every=1000,
            evaluate_every=1000,
        ),
    ),
}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    if len(data.roles) != 2:
        raise ValueError(f"data.text_column gives {len(data.roles)} texts a row; name two, the docstring and the code.")
    if not isinstance(data.train, Rows) or len(data.test) < 2:
        raise ValueError("data.stream is set or nothing is held out; this recipe needs rows to learn and to judge by.")
    options = replace(config.tokenizer, start_from=config.tokenizer.start_from or config.model.start_from)
    tokenizer = build_tokenizer(options, [text for texts in data.train.texts for text in texts], config.model.length)
    collate = CodeTextCollate(tokenizer, config.task)
    set_seed(config.train.seed)
    task = CodeText(build_model(config.model, tokenizer), tokenizer, config.task)
    identity = {
        "model": asdict(config.model),
        "task": asdict(config.task),
        "data": data.fingerprint,
        "tokenizer": digest(tokenizer.get_vocab()),
    }

    def watch(task: CodeText, _: int) -> dict[str, float]:
        scores = measure(encoder_of(task, collate), data.test)
        return {name: scores[name] for name in ("mrr", "back_mrr", "nameless_mrr")}

    task = fit(task, data.train, collate, config.train, watch, identity)
    if not run.main:
        return

    task.save(run.out / "model")
    inputs = collate.tokens([texts[1] for texts in data.test.texts[:8]], config.task.code_length)
    write_check(run.out, task.encoder, inputs, {"model": "AutoModel", "processor": "AutoTokenizer"})
    encode = encoder_of(task, collate)
    ours = Row("this run", dict(measure(encode, data.test)))
    others = before_training(data, config.model, collate, config.eval, run.accelerator.device)
    others += classic(data, tokenizer, config.eval)
    note = explain(data, config.task, config.eval)
    table = run.report([*others, ours], COLUMNS, ours.name, note)
    pictures = draw_pictures(run.out, chance=log(config.train.batch_size))
    write_card(run, task, data, encode, f"{table}\n\n{note}", ours.metrics, pictures)
    run.say(f"Saved {run.out / 'model'} for SentenceTransformer and AutoModel; picture and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
