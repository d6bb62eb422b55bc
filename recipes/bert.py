"""BERT from scratch: hidden words, told from those around them (Devlin et al. 2018, arXiv 1810.04805).

accelerate launch recipes/bert.py                        # ModernBERT's layers, on a Bible that a PyPI package carries
accelerate launch recipes/bert.py whole-word             # or span; bert, nsp, albert, roberta with the older layers
accelerate launch recipes/bert.py --data.source my_folder --train.out runs/mine
accelerate launch recipes/bert.py paper --data.source shards

Norms before the layers and rotary positions are what lets the default learn within minutes: BERT's own layers were
still near the frequencies of tokens when it had found a third of the hidden ones (LOG.md).
"""

from dataclasses import asdict, dataclass, field, replace
from math import log
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from transformers import AutoModelForMaskedLM

from evaluation.report import Row
from modalities.text.backbones import Family, ModelConfig, build_model
from modalities.text.bert import Bert, Pairs
from modalities.text.config import DataConfig
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import Packed, pack
from modalities.text.sentence_pairs import PairsCollate, Segments, cut
from modalities.text.sources import load
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes.bert_card import draw_pictures, write_bert_card
from recipes.bert_measure import explain_hidden, hidden_tokens, pair_accuracy, unigram
from recipes.run import Run, launch
from recipes.text_baselines import before_training, classic, supervised
from recipes.text_measure import COLUMNS, EvalConfig, as_read, explain, measure, prepare, texts_of
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the BERT recipe."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="bible"))
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(vocabulary=2000))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(family="modernbert", length=64, dropout=0.0))
    masks: MaskConfig = field(default_factory=MaskConfig)
    pairs: Pairs = "none"
    """Also ask whether two segments follow one another (nsp, BERT), or are swapped (sop, ALBERT)."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/bert"), batch_size=16, steps=2800, lr=2e-3, weight_decay=0.01, evaluate_every=280
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


def preset(name: str, family: Family = "modernbert", **options: Any) -> Config:
    """The default, but for what is named. Norms after the layers bear half its learning rate."""
    default = Config()
    rate = default.train.lr if family == "modernbert" else default.train.lr / 2
    train = replace(default.train, out=Path("runs") / name, lr=rate)
    return replace(default, model=replace(default.model, family=family), train=train, **options)


PRESETS = {
    "modernbert": Config(),
    "whole-word": preset("bert-whole-word", masks=MaskConfig(unit="word")),
    "span": preset("bert-span", masks=MaskConfig(unit="span")),
    "bert": preset("bert-2018", "bert"),
    "nsp": preset("bert-nsp", "bert", pairs="nsp"),
    "albert": preset("albert", "albert", pairs="sop"),
    "roberta": preset("roberta", "roberta", tokenizer=TokenizerConfig(kind="bpe", vocabulary=2000)),
    "paper": Config(
        data=DataConfig(source=""),
        tokenizer=TokenizerConfig(vocabulary=30522),
        model=ModelConfig(family="bert", width=768, layers=12, heads=12, feed_forward=3072, length=512),
        masks=MaskConfig(unit="word"),
        train=TrainConfig(
            out=Path("runs/bert-base"),
            batch_size=256,
            micro_batch=32,
            steps=1_000_000,
            lr=1e-4,
            schedule="linear",
            warmup=0.01,
            weight_decay=0.01,
            beta2=0.999,
            workers=8,
            save_every=5000,
            evaluate_every=10_000,
        ),
    ),
}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    length = config.model.length
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
        probes = prepare(config.eval, data, length)
    run.say(f"{data.name}: {data.counts}")
    texts, test = texts_of(data, probes)
    options = replace(config.tokenizer, start_from=config.tokenizer.start_from or config.model.start_from)
    tokenizer = build_tokenizer(options, texts, length)
    probes = as_read(probes, tokenizer)
    packed, held_out = pack(texts, tokenizer, length), pack(test, tokenizer, length)
    rows: Packed | Segments = packed
    collate: MaskedCollate | PairsCollate = MaskedCollate(tokenizer, config.masks)
    if config.pairs != "none":
        rows = segments = cut(texts, tokenizer, length)
        collate = PairsCollate(segments, tokenizer, config.masks, config.pairs)
        pairs = cut(test, tokenizer, length)  # too short for pairs is better said before training
        run.say(f"Too short for pairs: {segments.alone:,} documents, and {pairs.alone:,} held-out ones")
    run.say(f"{len(rows):,} rows of {length} tokens from {len(texts):,} documents, {packed.tokens:,} tokens in all")
    set_seed(config.train.seed)
    task = Bert(config.model, tokenizer, config.pairs)
    identity = {
        "model": asdict(config.model),
        "masks": asdict(config.masks),
        "pairs": config.pairs,
        "data": data.fingerprint,
        "barred": digest(sorted(probes.barred)),
        "tokenizer": digest(tokenizer.get_vocab()),
    }
    task = fit(task, rows, collate, config.train, lambda task, _: hidden_tokens(task, held_out), identity)
    processes = run.accelerator.num_processes
    bound = supervised(config.model, tokenizer, probes, config.train, config.eval, processes)
    if not run.main:
        return

    task.save(run.out / "model")
    auto = "AutoModelForMaskedLM" if config.pairs == "none" else "AutoModelForPreTraining"
    inputs = tokenizer(test[:4], padding=True, truncation=True, max_length=length, return_tensors="pt")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    write_check(run.out, task.export(), inputs, {"model": auto, "processor": "AutoTokenizer"})
    found, chosen = measure(task.export(), tokenizer, probes)
    found |= hidden_tokens(task, held_out)
    if config.pairs != "none":
        found |= pair_accuracy(task, pairs, PairsCollate(pairs, tokenizer, config.masks, config.pairs))
    counted = unigram(packed, held_out, len(tokenizer))
    others, layers = before_training(
        "starting checkpoint" if config.model.start_from else "random initialisation",
        lambda: build_model(config.model, tokenizer, AutoModelForMaskedLM),
        tokenizer,
        probes,
        min(config.eval.seeds, 1) if config.model.start_from else config.eval.seeds,
        run.accelerator.device,
    )
    others += [Row("token frequencies", dict(counted)), *(classic(probes) if config.eval.classic else [])]
    note = f"{explain_hidden(found)} {explain(probes, {'this run': chosen, **layers})}".strip()
    table = run.report([*others, Row("this run", dict(found)), *bound], COLUMNS, "this run", note)
    pictures = draw_pictures(run.out, task, data, length, log(counted["held_out_perplexity"]))
    write_bert_card(run, task, data, probes, f"{table}\n\n{note}", found, length, pictures)
    run.say(f"Saved {run.out / 'model'} for {auto}.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
