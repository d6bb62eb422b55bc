"""What word2vec and GloVe share: a table of vectors, a tokenizer of whole words, and the files they leave behind."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from modalities.task import Batch
from modalities.text.backbones import mean_pooled
from modalities.text.task import TextTask
from modalities.text.vocabulary import Vocabulary, cutter, normalizer
from modalities.text.word2vec_format import write_binary, write_text
from modalities.text.word_vectors import WordVectors, WordVectorsConfig

UNKNOWN = "[UNK]"


class WordTask(TextTask):
    """A method that gives each word of a vocabulary one vector."""

    encoder: WordVectors

    def __init__(self, vocabulary: Vocabulary, width: int, lower: bool = True) -> None:
        super().__init__(word_tokenizer(vocabulary, lower))
        c = len(vocabulary)
        self.vocabulary = vocabulary
        self.encoder = WordVectors(WordVectorsConfig(vocab_size=c + 1, hidden_size=width, pad_token_id=c))

    def vectors(self) -> npt.NDArray[np.float32]:
        """The vectors of all words, (c, d), in the order of the vocabulary."""
        everything = torch.arange(len(self.vocabulary), device=self.encoder.device)
        return self.look_up(everything).detach().float().cpu().numpy()

    def look_up(self, ids: Tensor) -> Tensor:
        """The vectors of words as `export` has them, (..., d), without a copy of the table: ids long (...)."""
        return self.encoder.embedding(ids)

    def encode(self, batch: Batch) -> Tensor:
        """Mean vector of the known words, (n, d)."""
        known = batch["attention_mask"] * (batch["input_ids"] != len(self.vocabulary))
        return mean_pooled(self.look_up(batch["input_ids"]), known)

    def save(self, folder: Path) -> None:
        """Also vectors.txt and vectors.bin, in the formats of the word2vec tool."""
        super().save(folder)
        vectors = self.vectors()
        write_text(folder / "vectors.txt", self.vocabulary.words, vectors)
        write_binary(folder / "vectors.bin", self.vocabulary.words, vectors)


def loss_of(loss: Tensor, *tables: Tensor) -> Tensor:
    """`loss`, but not a number once a table holds anything infinite: `fit` then stops before it is saved as good."""
    return loss + 0 * torch.stack([table.sum() for table in tables]).sum()


def word_tokenizer(vocabulary: Vocabulary, lower: bool) -> PreTrainedTokenizerBase:
    """A fast tokenizer that cuts as `words_of` does; the unknown word comes last and is the padding too."""
    numbers = vocabulary.places | {UNKNOWN: len(vocabulary)}
    backend = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    backend.normalizer, backend.pre_tokenizer = normalizer(lower), cutter()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=UNKNOWN, pad_token=UNKNOWN)


def new_table(rows: int, width: int) -> torch.nn.Parameter:
    """Zeros, as word2vec starts its outputs."""
    return torch.nn.Parameter(torch.zeros(rows, width))
