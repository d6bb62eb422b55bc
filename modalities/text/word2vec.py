"""word2vec: Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546, and the authors' C code.

Skip-gram predicts each word from every word near it, CBOW from their mean; against drawn words (negative sampling) or
down a Huffman tree (hierarchical softmax). `forward` is that, pair by pair. `update` is the same step without autograd:
blocks of neighbouring centres, whose pairs are scored in one small matrix product (`word_blocks`).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from modalities.draws import integers_on_device, uniform_on_device
from modalities.task import Batch
from modalities.text.huffman import huffman
from modalities.text.vocabulary import Vocabulary
from modalities.text.word_blocks import Blocks, band, cut
from modalities.text.word_task import WordTask, loss_of, new_table
from objectives.gather import gather

_KEEP, _WINDOW, _NEGATIVE = 1, 2, 3  # streams of a row's draws


@dataclass(frozen=True)
class Word2VecConfig:
    """Options of word2vec."""

    width: int = 100
    """Width of a vector."""
    cbow: bool = False
    """Predict a word from the mean of its context (CBOW) instead of from each word of it (skip-gram)."""
    hierarchical: bool = False
    """Predict down a Huffman tree instead of against drawn words."""
    window: int = 5
    """Words to either side at most; each centre draws how many, from 1 on, so that near words count more."""
    negatives: int = 5
    """Words drawn against each pair."""
    power: float = 0.75
    """Negatives are drawn by their counts to this power."""
    sample: float = 1e-3
    """Share of the text from which on a word is too frequent to be read each time; 0 reads all."""
    block: int = 16
    """Neighbouring centres that are scored at once."""
    shared: int = 8
    """Negatives of a block, weighted to count as `negatives` for each of its pairs."""
    step: int = 1024
    """Words between two updates of the tables; gradients within are summed. Far more, and little is learnt."""

    def __post_init__(self) -> None:
        for name in ("width", "window", "negatives", "block", "shared"):
            if getattr(self, name) < 1:
                raise ValueError(f"word2vec.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.sample < 0:
            raise ValueError(f"word2vec.sample is {self.sample}; it must not be negative.")
        if self.step < self.block:
            raise ValueError(f"word2vec.step {self.step} is less than word2vec.block {self.block}: raise it.")


class Word2Vec(WordTask):
    """Predict words from the words around them. Batch: words long (n, t), -1 at padding; seeds int64 (n,).

    CBOW differs from the C code, and from gensim's cbow_mean=1, in one thing: those give the gradient of the mean whole
    to each word of the context, here each gets its share of it, the true gradient. A higher rate makes up for that.
    """

    keep: Tensor
    thresholds: Tensor
    nodes: Tensor
    turns: Tensor

    def __init__(self, vocabulary: Vocabulary, cfg: Word2VecConfig, lower: bool = True) -> None:
        super().__init__(vocabulary, cfg.width, lower)
        self.cfg = cfg
        share = vocabulary.counts / vocabulary.counts.sum()
        self.register_buffer("keep", torch.from_numpy(keep_probability(share, cfg.sample)).float())
        if cfg.hierarchical:
            nodes, turns = huffman(vocabulary.counts)
            self.register_buffer("nodes", torch.from_numpy(nodes))
            self.register_buffer("turns", torch.from_numpy(turns))
            self.output = new_table(len(vocabulary) - 1, cfg.width)
        else:
            self.register_buffer("thresholds", torch.from_numpy(thresholds(vocabulary.counts**cfg.power)))
            self.output = new_table(len(vocabulary), cfg.width)

    def draw(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Which words are read, bool (n, t); windows of the first, second ... of them, long (n, t); and numbers below
        2**53 for the negatives of the first, second ... block, long (n, blocks, s), none in a hierarchical softmax."""
        words, seeds = batch["words"], batch["seeds"]
        n, t = words.shape
        keep = self.keep.index_select(0, words.clamp_min(0).flatten()).view(n, t)
        kept = (words >= 0) & (uniform_on_device(seeds, t, _KEEP) < keep)
        windows = 1 + (uniform_on_device(seeds, t, _WINDOW) * self.cfg.window).long()
        blocks, shared = -(-t // self.cfg.block), 0 if self.cfg.hierarchical else self.cfg.shared
        return kept, windows, integers_on_device(seeds, blocks * shared, _NEGATIVE).view(n, blocks, shared)

    def negatives(self, numbers: Tensor) -> Tensor:
        """Words by their counts to `power`, one for each number in [0, 2**53); same shape, long."""
        return torch.searchsorted(self.thresholds, numbers, right=True)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a row, summed over its pairs: the plain form, one pair after the other."""
        total = self.output.new_zeros(())
        for words, kept, windows, numbers in zip(batch["words"], *self.draw(batch), strict=True):
            stream = words[kept]  # (k,)
            place = torch.arange(len(stream), device=words.device)
            apart = (place - place[:, None]).abs()  # (k, k)
            centre, near = ((apart > 0) & (apart <= windows[: len(stream), None])).nonzero(as_tuple=True)  # (p,) each
            hidden = self.encoder.embedding.weight[stream[near]]  # (p, d)
            if self.cfg.cbow:
                sums = hidden.new_zeros(len(stream), hidden.shape[1]).index_add(0, centre, hidden)
                centre, sizes = centre.unique(return_counts=True)
                hidden = sums[centre] / sizes[:, None]
            target = stream[centre]  # (p,)
            if self.cfg.hierarchical:
                total = total + self._down_the_tree(hidden, target)
            else:
                against = self.negatives(numbers[centre // self.cfg.block])  # (p, s)
                total = total + self._against_negatives(hidden, target, against)
        return {"loss": total / len(batch["words"])}

    def _against_negatives(self, hidden: Tensor, target: Tensor, against: Tensor) -> Tensor:
        right = (hidden * self.output[target]).sum(-1)  # (p,)
        wrong = (hidden[:, None] * self.output[against]).sum(-1)  # (p, s)
        # A negative that is the word itself does not count, as in the C code.
        weight = (against != target[:, None]) * (self.cfg.negatives / self.cfg.shared)
        return -F.logsigmoid(right).sum() - (weight * F.logsigmoid(-wrong)).sum()

    def _down_the_tree(self, hidden: Tensor, target: Tensor) -> Tensor:
        nodes, turns = self.nodes[target], self.turns[target]  # (p, l)
        scores = (hidden[:, None] * self.output[nodes.clamp_min(0)]).sum(-1)  # (p, l)
        return -((nodes >= 0) * F.logsigmoid(scores * (1 - 2 * turns))).sum()

    @torch.no_grad()
    def update(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """Move the tables by -rate times the gradient of the summed loss, `step` words after `step` words. Every
        process makes the whole step, with the words of all: numbers travel, no vectors.

        Returns: the loss per pair (skip-gram) or per word (CBOW) of the first of these updates, before it; not a number
        where the tables no longer are after the last.
        """
        batch = {name: gather(batch[name]) for name in ("words", "seeds")}
        kept, windows, numbers = self.draw(batch)
        blocks = cut(batch["words"], kept, windows, self.cfg.block, self.cfg.window)
        numbers = numbers[blocks.row, blocks.number]  # (b, s)
        size, loss = self.cfg.step // self.cfg.block, None
        for start in range(0, len(numbers), size):
            some = Blocks(*(each[start : start + size] for each in blocks))
            found = self._step(some, numbers[start : start + size], rate, loss is None)
            loss = found if loss is None else loss
        loss = self.output.new_zeros(()) if loss is None else loss
        return {"loss": loss_of(loss, self.encoder.embedding.weight, self.output)}

    def _step(self, blocks: Blocks, numbers: Tensor, rate: float, measure: bool) -> Tensor | None:
        table, c, reach = self.encoder.embedding.weight, self.cfg.block, self.cfg.window
        near = band(blocks).to(table.dtype)  # (b, c, j)
        around = blocks.around.clamp_min(0)
        centres = around[:, reach : reach + c]  # (b, c)
        b, j, d = *around.shape, table.shape[1]
        hidden = table.index_select(0, around.view(-1)).view(b, j, d)
        if self.cfg.cbow:
            mean = near / near.sum(2, keepdim=True).clamp_min_(1)  # (b, c, j)
            hidden = torch.bmm(mean, hidden)  # (b, c, d)
            near = torch.diag_embed(near.amax(2))  # (b, c, c): each predicts its own centre, if it has any context
        if self.cfg.hierarchical:
            outputs, labels, weights = self._ways(centres, near)
        else:
            outputs, labels, weights = self._against(centres, near, self.negatives(numbers))
        targets = self.output.index_select(0, outputs.view(-1)).view(b, -1, d)
        scores = torch.bmm(targets, hidden.transpose(1, 2)).sigmoid_()  # (b, m, j)
        loss = _loss(scores, labels, weights, near.sum()) if measure else None
        pull = scores.sub_(labels).mul_(weights.mul_(-rate))  # the step down the gradient of the scores
        self.output.index_add_(0, outputs.view(-1), torch.bmm(pull, hidden).view(-1, d))
        change = torch.bmm(pull.transpose(1, 2), targets)
        if self.cfg.cbow:
            change = torch.bmm(mean.transpose(1, 2), change)
        table.index_add_(0, around.view(-1), change.view(-1, d))
        return loss

    def _against(self, centres: Tensor, near: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centres and negatives (b, m), which of them are right (m, 1), and how much each counts for each word
        (b, m, j)."""
        c = centres.shape[1]
        labels = near.new_zeros(c + negatives.shape[1], 1)
        labels[:c] = 1
        # Each word meets each negative once per pair, but not where that is the pair's centre, as in the C code.
        other = (negatives[:, :, None] != centres[:, None, :]).to(near.dtype)  # (b, s, c)
        meetings = torch.bmm(other, near).mul_(self.cfg.negatives / self.cfg.shared)  # (b, s, j)
        return torch.cat([centres, negatives], 1), labels, torch.cat([near, meetings], 1)

    def _ways(self, centres: Tensor, near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nodes above the centres (b, m), whether to turn to 0 there (b, m, 1), and for which words (b, m, j)."""
        nodes = self.nodes[centres]  # (b, c, l)
        weights = near[:, :, None] * (nodes >= 0)[:, :, :, None]  # (b, c, l, j)
        labels = (1 - self.turns[centres]).to(near.dtype).flatten(1)[:, :, None]
        return nodes.clamp_min(0).flatten(1), labels, weights.flatten(1, 2)


def keep_probability(share: np.ndarray, sample: float) -> np.ndarray:
    """How likely each word is read, given its share of the text: the C code's rule, not the papers', (c,)."""
    if not sample:
        return np.ones_like(share)
    return np.minimum(1.0, (np.sqrt(share / sample) + 1) * (sample / share))


def thresholds(weights: np.ndarray) -> np.ndarray:
    """The word of a number in [0, 2**53) is the first whose threshold lies above it, (c,): fp32 has no numbers as small
    as the share of a rare word among millions, nor has a module's buffer in integers any precision to lose."""
    total = np.cumsum(weights, dtype=np.float64)
    found: np.ndarray = (total / total[-1] * 2.0**53).astype(np.int64)
    return found


def _loss(scores: Tensor, labels: Tensor, weights: Tensor, pairs: Tensor) -> Tensor:
    right = torch.where(labels > 0, scores, 1 - scores).clamp_min(torch.finfo(scores.dtype).tiny)
    return -(right.log() * weights).sum() / pairs.clamp_min(1)
