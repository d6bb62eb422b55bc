"""GPT from scratch: say each next token (Radford et al. 2018, 2019), on packed documents.

accelerate launch recipes/gpt.py                                 # GPT-2, on Wikipedia articles
accelerate launch recipes/gpt.py llama                           # Llama's layers (2302.13971) on the same
accelerate launch recipes/gpt.py --data.source my_folder --train.out runs/mine
accelerate launch recipes/gpt.py paper --data.source some/corpus # GPT-2 of 124 M parameters, batches of 524,288 tokens
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.gpt import Gpt, begin_documents, stack
from modalities.text.rows import Rows
from modalities.text.sources import load
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes.gpt_card import draw_pictures, write_card
from recipes.gpt_data import texts_of, training_rows
from recipes.gpt_measure import (
    CHECKPOINT,
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


@dataclass(frozen=True)
class Config:
    """Options of the GPT recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(kind="bpe", vocabulary=1024))
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            family="gpt2", width=96, layers=3, heads=3, feed_forward=384, length=128, dropout=0.05
        )
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/gpt"), batch_size=4, epochs=6, lr=4e-3, save_every=1000, evaluate_every=500
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


GPT2 = Config()
LLAMA = replace(
    GPT2,
    model=replace(GPT2.model, family="llama", feed_forward=288, dropout=0.1),
    train=replace(GPT2.train, out=Path("runs/llama"), epochs=7),
)
PAPER = Config(
    data=DataConfig(source="", stream=True, test_split="test"),
    tokenizer=TokenizerConfig(kind="bpe", vocabulary=50257),
    model=ModelConfig(family="gpt2", width=768, layers=12, heads=12, feed_forward=3072, length=1024, dropout=0.0),
    train=TrainConfig(
        out=Path("runs/gpt2-124m"),
        batch_size=512,
        micro_batch=16,
        steps=20_000,
        lr=6e-4,
        beta2=0.95,
        warmup=0.01,
        final_lr=0.1,
        lanes=64,
        workers=4,
        save_every=1000,
        evaluate_every=1000,
    ),
    eval=EvalConfig(context=512, seeds=1),
)
PRESETS = {"gpt2": GPT2, "llama": LLAMA, "paper": PAPER}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():  # one process fills the cache of `datasets`, the others find it
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    texts, unseen = texts_of(data)
    length = config.model.length
    options = replace(config.tokenizer, start_from=config.tokenizer.start_from or config.model.start_from)
    tokenizer = begin_documents(build_tokenizer(options, texts, length))
    rows, asked = training_rows(data, texts, tokenizer, length), held_out(unseen, tokenizer)
    set_seed(config.train.seed)
    task = Gpt(config.model, tokenizer)
    identity = {
        "model": asdict(config.model),
        "data": data.fingerprint,
        "tokenizer": digest(tokenizer.get_vocab()),
    }
    task = fit(task, rows, stack, config.train, lambda task, _: held_out_loss(task, asked, length), identity)
    if not run.main:
        return

    task.save(run.out / "model")
    some = tokenizer(unseen[:4], padding=True, truncation=True, max_length=length, return_tensors="pt")
    inputs = {name: some[name] for name in ("input_ids", "attention_mask")}
    write_check(run.out, task.export(), inputs, {"model": "AutoModelForCausalLM", "processor": "AutoTokenizer"})
    foreseen = foresee(task, asked.documents, length, config.eval.context)
    ours = Row("this run", dict(foreseen.scores(asked)))
    device = run.accelerator.device
    name = CHECKPOINT if config.model.start_from else UNTRAINED
    others = before_training(name, lambda: Gpt(config.model, tokenizer), asked, length, config.eval, device)
    if isinstance(data.train, Rows):
        others += counted(texts, tokenizer, asked, config.eval)
    least = min(config.eval.context, length - 1)
    shown = f"Windows of {length} tokens show at least {least} before each, or all there are."
    explained = explain(asked, shown, others)
    table = run.report([*others, ours], COLUMNS, ours.name, explained)
    pictures = draw_pictures(run.out, task, asked, length, others)
    write_card(run, task, data, f"{table}\n\n{explained}", ours, pictures, config.eval)
    run.say(f"Saved {run.out / 'model'} for AutoModelForCausalLM.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
