"""What code search is judged by: the rank of the right function among a thousand that were never seen, and back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate.utils import set_seed
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import PreTrainedTokenizerBase

from evaluation.mrr import reciprocal_ranks
from evaluation.report import Column, Row
from evaluation.retrieval import recall
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.code_text import CodeText, CodeTextCollate, CodeTextConfig, without_name
from modalities.text.rows import Rows, TextSet

Floats = NDArray[np.float32]
Encode = Callable[[Sequence[str], str], Floats]
"""Texts and what they are, "query" or "code", to vectors (n, d)."""

POOL = 1000  # candidates of a query, as in CodeSearchNet
_BATCH = 64

COLUMNS = [
    Column("mrr", "docstring→code MRR", percent=False),
    Column("r1", "R@1"),
    Column("r5", "R@5"),
    Column("r10", "R@10"),
    Column("back_mrr", "code→docstring MRR", percent=False),
    Column("back_r1", "R@1 back"),
    Column("nameless_mrr", "names hidden: MRR", percent=False),
    Column("nameless_r1", "names hidden: R@1"),
]


@dataclass(frozen=True)
class EvalConfig:
    """How the trained encoder and what it is compared with are measured."""

    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    classic: bool = True
    """Compare with TF-IDF of the same tokens."""

    def __post_init__(self) -> None:
        if self.seeds < 0:
            raise ValueError(f"eval.seeds is {self.seeds}; it must not be negative.")


def pools(count: int) -> list[NDArray[np.int64]]:
    """Held-out rows in groups of 1,000 drawn at random, what is left over let go; all in one where they are fewer."""
    order = np.random.default_rng(0).permutation(count)
    whole = count // POOL * POOL
    return np.split(order[:whole], whole // POOL) if whole else [order]


def measure(encode: Encode, test: Rows) -> dict[str, float]:
    """MRR and recall, means over the pools: from docstring to code, back, and to code without the function's name."""
    found = []
    for pool in pools(len(test)):
        queries, codes = ([test.texts[place][role] for place in pool] for role in (0, 1))
        query, code = encode(queries, "query"), encode(codes, "code")
        nameless = encode([without_name(text) for text in codes], "code")
        forward, back, hidden = ranks(query, code), ranks(code, query), ranks(query, nameless)
        found.append(
            forward
            | {f"back_{name}": value for name, value in back.items()}
            | {f"nameless_{name}": value for name, value in hidden.items()}
        )
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def ranks(queries: Floats, keys: Floats) -> dict[str, float]:
    """{"mrr", "r1", "r5", "r10"} where row i of both belongs together."""
    places = np.arange(len(queries))
    shares = recall(queries, keys, places, places, (1, 5, 10))
    return {"mrr": float(reciprocal_ranks(queries, keys).mean())} | {f"r{k}": share for k, share in shares.items()}


def encoder_of(task: CodeText, collate: CodeTextCollate) -> Encode:
    """Vectors as the published folder gives them, texts of like length together."""

    @torch.inference_mode()
    def encode(texts: Sequence[str], kind: str) -> Floats:
        training = task.training
        task.eval()
        order = np.argsort([len(text) for text in texts], kind="stable")
        vectors = np.zeros((len(texts), task.encoder.config.hidden_size), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            places = order[start : start + _BATCH]
            batch = collate.tokens([texts[place] for place in places], collate.length_of[kind])
            batch = {name: tensor.to(task.encoder.device) for name, tensor in batch.items()}
            vectors[places] = task.encode(batch).float().cpu().numpy()
        task.train(training)
        return vectors

    return encode


def before_training(
    data: TextSet, model: ModelConfig, collate: CodeTextCollate, cfg: EvalConfig, device: torch.device
) -> list[Row]:
    """The encoder as it starts: over several random initialisations, or the one checkpoint it continues from."""
    scores = []
    for seed in range(min(cfg.seeds, 1) if model.start_from else cfg.seeds):
        set_seed(1000 + seed)
        start = CodeText(build_model(model, collate.tokenizer), collate.tokenizer, collate.cfg).to(device)
        scores.append(measure(encoder_of(start, collate), data.test))
    name = "starting checkpoint" if model.start_from else "random initialisation"
    return [Row(name, {key: [each[key] for each in scores] for key in scores[0]})] if scores else []


def classic(data: TextSet, tokenizer: PreTrainedTokenizerBase, cfg: EvalConfig) -> list[Row]:
    """Cosine of TF-IDF over the tokenizer's tokens, whole texts, weights of the training side."""
    if not cfg.classic or not isinstance(data.train, Rows):
        return []
    weights = TfidfVectorizer(
        analyzer=lambda text: tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).tokens,
        sublinear_tf=True,
        dtype=np.float32,
    ).fit([text for texts in data.train.texts for text in texts])
    return [Row("TF-IDF", dict(measure(lambda texts, kind: weights.transform(texts).toarray(), data.test)))]


def explain(data: TextSet, task: CodeTextConfig, cfg: EvalConfig) -> str:
    """What the table's columns mean, in words."""
    count = len(pools(len(data.test))[0])
    guessing = float(np.mean(1 / np.arange(1, count + 1)))
    renamed = sum(without_name(code) != code for _, code in data.test.texts)
    called = "every function is" if renamed == len(data.test) else f"{renamed:,} of {len(data.test):,} functions are"
    modules = " No module has functions on both sides." if data.name == "standard-library" else ""
    whole = "; TF-IDF reads whole texts" if cfg.classic else ""
    return (
        f"MRR: mean of 1 / rank of the right one among {count} held-out functions, or among their docstrings "
        f"({guessing:.3f} by guessing); R@k: the right one is among the first k.{modules} Names hidden: {called} "
        "called f, for a name often repeats the docstring. The encoder reads the first "
        f"{task.query_length} tokens of a docstring and {task.code_length} of code{whole}. There are no labels, so "
        "there is no supervised bound."
    )
