"""The GPT and n-gram recipes end to end at toy size, and the numbers of their tables against plain forms."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modalities.text.backbones import ModelConfig
from modalities.text.config import DataConfig
from modalities.text.gpt import begin_documents, document_tokens
from modalities.text.ngram_lm import NgramLmConfig
from modalities.text.packing import pack
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes import gpt, gpt_measure, ngram_lm
from recipes.gpt_card import samples
from recipes.gpt_measure import EvalConfig, foresee, held_out
from tests.recipes.test_kill import launch
from tests.text import examples_gpt
from tests.trainers.toys import metrics_of
from trainers.config import TrainConfig
from trainers.hub.check import verify

LENGTH = examples_gpt.LENGTH


@pytest.mark.parametrize("length", [8, LENGTH])
def test_what_is_foreseen_is_what_the_stock_model_says(length: int) -> None:
    torch.manual_seed(0)
    task = examples_gpt.gpt("gpt2").double().eval()
    documents = document_tokens(examples_gpt.stories(12), task.tokenizer)
    assert any(len(ids) > length for ids in documents)
    found = foresee(task, documents, length, context=length - 1)
    wanted, right, place = [], [], 0
    for ids in documents:
        for end in range(1, len(ids)):  # one token at a time, the last `length - 1` before it at most
            seen = torch.from_numpy(ids[max(0, end - length + 1) : end])[None]
            with torch.no_grad():
                p = task.export()(input_ids=seen).logits[0, -1].log_softmax(0)
            wanted.append(float(p[ids[end]]))
            right.append(int(p.argmax()) == ids[end])
            assert found.before[place] == seen.shape[1]
            place += 1
    np.testing.assert_allclose(found.log_probs, wanted, rtol=0, atol=1e-6)  # scored in fp32
    assert found.right.tolist() == right
    less = foresee(task, documents, length, context=1)  # the broken twin: less is seen
    assert np.abs(less.log_probs - wanted).max() > 1e-5


def test_counting_in_pieces_is_counting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = examples_gpt.tokenizer()
    train, data = examples_gpt.stories(30), held_out(examples_gpt.stories(9, 1), tokenizer)
    whole = gpt_measure.counted(train, tokenizer, data, EvalConfig(order=3))
    monkeypatch.setattr(gpt_measure, "_ROWS", 3)
    pieces = gpt_measure.counted(train, tokenizer, data, EvalConfig(order=3))
    assert [row.name for row in whole] == ["unigrams", "Kneser-Ney 3-grams"]
    for one, other in zip(whole, pieces, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-12)
    model = gpt_measure.KneserNey(document_tokens(train, tokenizer), 3, len(tokenizer))
    plain = -np.concatenate([model.log_probs(ids) for ids in data.documents])
    assert whole[1].metrics["perplexity"] == pytest.approx(math.exp(plain.mean()), rel=1e-12)
    assert whole[0].metrics["perplexity"] > 1.2 * whole[1].metrics["perplexity"]  # type: ignore[operator]


def test_bytes_are_of_what_is_foreseen() -> None:
    texts = ["The café.", "a dog — 2 fish", ""]
    size = sum(len(text.encode()) for text in texts)
    exact = begin_documents(build_tokenizer(TokenizerConfig(kind="bpe", vocabulary=300), texts, LENGTH))
    data = held_out(texts, exact)
    assert data.bytes == size and sum(len(ids) for ids in data.documents) > len(data.documents)
    exact.bos_token = None
    first = [exact.decode(exact(text, add_special_tokens=False)["input_ids"][:1]) for text in texts[:2]]
    assert held_out(texts, exact).bytes == size - sum(len(text.encode()) for text in first) < size
    lossy = begin_documents(build_tokenizer(TokenizerConfig(vocabulary=100), texts, LENGTH))
    data = held_out(texts, lossy)  # lower case, and no accents
    scores = foresee(examples_gpt.gpt("gpt2"), [np.arange(5)], LENGTH, 1).scores(data)
    assert data.bytes == 0 and scores.keys() == {"perplexity", "accuracy"}
    assert "none, for the tokens do not" in gpt_measure.explain(data, "", [])


def test_samples_end_where_the_model_does() -> None:
    task = examples_gpt.gpt("gpt2")
    most = task.export().config.max_position_embeddings
    text = samples(task, EvalConfig(new_tokens=most + 1, prompts="the cat|" + "the cat " * most), 0)
    assert "nothing to add" in text and text.count("> ") >= 2
    assert samples(task, EvalConfig(new_tokens=0), 0) == ""


def test_models_are_asked_for_what_was_packed() -> None:
    texts = [*examples_gpt.stories(9), ""]
    packed = pack(texts, examples_gpt.tokenizer(), LENGTH, causal=True)
    documents = document_tokens(texts, examples_gpt.tokenizer())
    assert np.array_equal(packed.input_ids[packed.segments > 0], np.concatenate(documents))


def corpus(folder: Path) -> DataConfig:
    folder.mkdir()
    for number, text in enumerate(examples_gpt.stories(120)):
        (folder / f"{number}.txt").write_text(text)
    return DataConfig(source=str(folder), held_out=0.2)


TOKENS = TokenizerConfig(kind="bpe", vocabulary=300)
MEASURED = EvalConfig(seeds=2, order=3, context=8, prompts="the cat", new_tokens=8)


def check(out: Path) -> None:
    """Numbers are there and beat those before training; the folder speaks for itself."""
    results = json.loads((out / "results.json").read_text())
    before = results["baselines"]["random initialisation"]["perplexity"]
    assert len(before) == 2 and results["metrics"]["perplexity"] < 0.5 * min(before)
    assert {"unigrams", "Kneser-Ney 3-grams"} < set(results["baselines"])
    card = (out / "README.md").read_text()
    assert "> **the cat**" in card and "context.png" in card and (out / "context.png").exists()


def test_gpt_recipe(tmp_path: Path) -> None:
    model = ModelConfig(family="gpt2", width=16, layers=1, heads=2, feed_forward=32, length=16, dropout=0.0)
    train = TrainConfig(out=tmp_path / "out", batch_size=8, steps=60, lr=1e-2, evaluate_every=30, tracker="none")
    gpt.main(gpt.Config(corpus(tmp_path / "texts"), TOKENS, model, train, MEASURED))
    check(tmp_path / "out")
    assert "logits" in verify(tmp_path / "out").outputs
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert sum("eval/loss" in line for line in lines) == 2


def test_ngram_recipe(tmp_path: Path) -> None:
    train = TrainConfig(out=tmp_path / "out", batch_size=4, steps=40, lr=1e-2, tracker="none")
    shape = NgramLmConfig(order=3, embedding=8, width=16)
    ngram_lm.main(ngram_lm.Config(corpus(tmp_path / "texts"), TOKENS, shape, train, MEASURED))
    check(tmp_path / "out")


KILLED = """
import os, signal, sys
from pathlib import Path
from modalities.text.gpt import Gpt
from recipes import gpt
from tests.recipes import test_gpt

source, out, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
calls = 0
real = Gpt.forward

def counted(self, batch):
    global calls
    calls += self.training
    if self.training and calls == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch)

Gpt.forward = counted
gpt.main(test_gpt.short(source, out))
"""


def short(source: Path, out: Path) -> gpt.Config:
    """12 steps with dropout, saved every second one."""
    model = ModelConfig(family="gpt2", width=16, layers=1, heads=2, feed_forward=32, length=16, dropout=0.1)
    train = TrainConfig(out=out, batch_size=8, steps=12, log_every=1, save_every=2, tracker="none", timeout=30.0)
    data = DataConfig(source=str(source), held_out=0.2)
    return gpt.Config(data, TOKENS, model, train, EvalConfig(seeds=0, order=0, context=8, prompts="", new_tokens=8))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_three_kills_change_nothing(tmp_path: Path, processes: int) -> None:
    program, source = tmp_path / "program.py", tmp_path / "texts"
    program.write_text(KILLED)
    corpus(source)
    assert launch(program, source, tmp_path / "whole", 0, processes) == 0
    for fatal in (3, 4, 3):  # each kill comes at a later step than the one before
        assert launch(program, source, tmp_path / "killed", fatal, processes) != 0
    assert launch(program, source, tmp_path / "killed", 0, processes) == 0
    whole, killed = metrics_of(tmp_path / "whole"), metrics_of(tmp_path / "killed")
    assert [line["step"] for line in whole] == list(range(1, 13)) and whole == killed
    assert len({line["loss"] for line in whole}) == 12  # so a step that was repeated or left out would show
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] | weights[1])


def test_streams_are_trained_on_without_counting(tmp_path: Path) -> None:
    for name, seed in (("train", 0), ("test", 1)):
        lines = [json.dumps({"text": text}) for text in examples_gpt.stories(60, seed)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    config = short(tmp_path, tmp_path / "out")
    data = DataConfig(source=str(tmp_path), stream=True, test_split="test", held_out=20)
    gpt.main(dataclasses.replace(config, data=data, eval=dataclasses.replace(config.eval, order=3)))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["metrics"]["perplexity"] < 300 and results["baselines"] == {}


def test_nothing_held_out_is_said(tmp_path: Path) -> None:
    config = dataclasses.replace(gpt.GPT2, train=TrainConfig(out=tmp_path / "out", tracker="none"))
    with pytest.raises(ValueError, match="held"):
        gpt.main(dataclasses.replace(config, data=DataConfig(source="lee", held_out=0.0)))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"context": 0}, "eval.context is 0"), ({"temperature": 0.0}, "eval.temperature"), ({"order": -1}, "eval.order")],
)
def test_measures_that_cannot_be_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EvalConfig(**options)  # type: ignore[arg-type]
