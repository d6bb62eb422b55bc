"""Transcripts as characters: what is kept of a text, the stock tokenizer made of it, and recordings beside them."""

import json
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Wav2Vec2CTCTokenizer

from modalities.audio.collate import UtteranceCollate
from modalities.audio.rows import Row, Rows
from objectives.predictive import IGNORE

BLANK, UNKNOWN, SPACE = "<pad>", "<unk>", "|"
_GRAIN = 0.5  # seconds, to a multiple of which batches are filled up: a convolution prepares itself for each new length


def plain(text: str) -> str:
    """Lower-case letters with their marks, composed (NFC), and apostrophes; whatever else stands between words is one
    space."""
    text = unicodedata.normalize("NFC", text.lower()).replace("’", "'")
    kept = (char if unicodedata.category(char)[0] in "LM" or char == "'" else " " for char in text)
    words = "".join(kept).split()
    return " ".join(stripped for word in words if (stripped := word.strip("'")))


def build_tokenizer(texts: Iterable[str]) -> Wav2Vec2CTCTokenizer:
    """One token for each character that is in the plain texts; CTC's blank is the padding token, number 0.

    Raises:
        ValueError: where no text has a letter.
    """
    characters = sorted(set("".join(texts)) - {" "})
    if not characters:
        raise ValueError("No transcript has a letter; name the column of transcripts with data.text_column.")
    numbers = {token: place for place, token in enumerate([BLANK, UNKNOWN, SPACE, *characters])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps(numbers), encoding="utf-8")
        return Wav2Vec2CTCTokenizer(
            str(path), pad_token=BLANK, unk_token=UNKNOWN, bos_token=None, eos_token=None, word_delimiter_token=SPACE
        )


def frames_needed(text: str) -> int:
    """The fewest frames that CTC can spell `text` in: one a character, and a blank between equal neighbours."""
    return len(text) + sum(left == right for left, right in pairwise(text))


@dataclass(frozen=True)
class Transcribed:
    """Recordings whose transcripts can be learnt from: an indexable set of `Row`s, each with one plain text."""

    rows: Rows
    lengths: npt.NDArray[np.int64]
    """Samples of each recording, (n,)."""
    left_out: dict[str, int]
    """How many rows were left out, by cause."""

    @property
    def texts(self) -> list[str]:
        """The plain transcripts."""
        return [texts[0] for texts in self.rows.texts]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __getitems__(self, indices: list[int]) -> list[Row]:
        return self.rows.__getitems__(indices)

    def first(self, samples: float) -> "Transcribed":
        """As many of the first ones as have so many samples together; one at least."""
        count = max(1, int(np.searchsorted(self.lengths.cumsum(), samples, side="right")))
        return Transcribed(self.rows.select(range(min(count, len(self)))), self.lengths[:count], self.left_out)


def transcribed(rows: Rows, rate: int, seconds: float, frames: Callable[[int], int]) -> Transcribed:
    """The rows that can be learnt from, their transcripts made plain.

    Left out and counted by cause are rows without a transcript, with digits (for letters do not say how a number is
    read), longer than `seconds`, or with more characters than CTC can spell in the recording's frames.

    Args:
        frames: samples at `rate` -> frames of the model.
    """
    kept, texts, lengths, causes = [], [], [], Counter[str]()
    for place, own in enumerate(rows.texts):
        written = own[0] if own else ""
        text, samples = plain(written), int(rows.seconds[place] * rate)
        if cause := _unfit(written, text, samples, int(seconds * rate), frames(samples)):
            causes[cause] += 1
            continue
        kept.append(place)
        texts.append([text])
        lengths.append(samples)
    return Transcribed(replace(rows.select(kept), texts=texts), np.array(lengths, dtype=np.int64), dict(causes))


class TranscriptCollate(UtteranceCollate):
    """Whole recordings, followed by silence, and the tokens of their transcripts.

    While training, a row that cannot be decoded gives its place to another, transcript included.
    """

    def __init__(self, tokenizer: Wav2Vec2CTCTokenizer, samples: int, rate: int, max_bad: float = 0.01) -> None:
        """samples: of the longest recording. max_bad: share of rows that may be beyond decoding."""
        super().__init__(samples, rate, max_bad)
        self.tokenizer = tokenizer

    def __call__(self, rows: Sequence[Row], seeds: npt.NDArray[np.uint64] | None = None) -> dict[str, Tensor]:
        """What `UtteranceCollate` gives, and labels int64 (n, l), -100 at padding."""
        batch, rows = self.with_rows(rows, seeds)
        labels = [torch.tensor(self.tokenizer(row["texts"][0]).input_ids) for row in rows]
        return batch | {"labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE)}

    def _width(self, lengths: Tensor) -> int:
        grain = int(_GRAIN * self.rate)
        return super()._width(lengths) + -int(lengths.max()) % grain


def _unfit(written: str, text: str, samples: int, most: int, frames: int) -> str:
    if not text:
        return "no transcript"
    if any(char.isdigit() for char in written):
        return "digits"
    if samples > most:
        return "too long"
    return "more characters than frames" if frames_needed(text) > frames else ""
