"""Tokenizers trained from scratch: byte-level BPE, WordPiece and Unigram; or the one of a checkpoint.

The same texts give the same tokens in every process, whatever its hash seeds and threads: a resumed run and the other
processes of a run build their own.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from modalities.text.unigram import train_unigram

_BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_ROBERTA = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_BYTES = 256
# Characters that are learnt from: unigram holds every part of every different word, in Python, some GB for so many.
_MOST = {"wordpiece": 1 << 28, "bpe": 1 << 28, "unigram": 1 << 25}
_PIECE = 1 << 14  # characters of a longer text that are taken or left as one


@dataclass(frozen=True)
class TokenizerConfig:
    """How texts become tokens."""

    kind: Literal["wordpiece", "bpe", "unigram"] = "wordpiece"
    """wordpiece (BERT), bpe (byte-level, as GPT-2 and RoBERTa), or unigram (1804.10959, as SentencePiece has it)."""
    vocabulary: int = 8000
    """Tokens at most, marks included; short texts give fewer."""
    lower: bool = True
    """Lower-case and strip accents (wordpiece and unigram; bpe keeps every byte)."""
    start_from: str = ""
    """Take the tokenizer of this checkpoint (folder or Hub id) instead."""

    def __post_init__(self) -> None:
        least = _BYTES + len(_ROBERTA) if self.kind == "bpe" else len(_BERT) + 1
        if self.vocabulary < least:
            reason = "byte-level BPE has 256 bytes and 5 marks" if self.kind == "bpe" else "there are 5 marks"
            raise ValueError(
                f"tokenizer.vocabulary {self.vocabulary} is too small: {reason}, so ask for {least} or more."
            )


def build_tokenizer(cfg: TokenizerConfig, texts: Iterable[str], length: int) -> PreTrainedTokenizerBase:
    """A fast tokenizer that `AutoTokenizer` reloads, cutting at `length` tokens where it is asked to cut.

    It has pad, unk, cls, sep and mask tokens; bos and eos are cls and sep (eos ends documents for causal models).
    Wordpiece and unigram have BERT's marks and turn characters that `texts` do not have into unk; bpe has RoBERTa's
    marks, and decoding gives back every text exactly. Of more text than 2**28 characters (unigram: 2**25) that many are
    learnt from, in pieces evenly spaced over all. The one of a checkpoint is taken as it is, but for pad and
    eos, which are set where it has none, and that it pads and cuts at the end of a text.

    Raises:
        ValueError: for a checkpoint without a tokenizer, texts without a word, or more characters in `texts` than
            cfg.vocabulary has room for.
    """
    if cfg.start_from:
        return _loaded(cfg.start_from, length)
    texts = list(texts)
    if not any(text.strip() for text in texts):
        raise ValueError("The texts to make tokens of are empty; check data.source and data.text_column.")
    train = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}[cfg.kind]
    backend = train(cfg, _evenly_spaced(texts, _MOST[cfg.kind]))
    if backend.get_vocab_size() > cfg.vocabulary:
        raise ValueError(
            f"tokenizer.vocabulary {cfg.vocabulary} is too small: the texts have so many different characters that "
            f"{backend.get_vocab_size()} are needed; ask for more, or take tokenizer.kind bpe."
        )
    marks = _ROBERTA if cfg.kind == "bpe" else _BERT
    numbers = backend.get_vocab()
    cls, sep = ((marks[name], numbers[marks[name]]) for name in ("cls_token", "sep_token"))
    backend.post_processor = (
        processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)
        if cfg.kind == "bpe"
        else processors.BertProcessing(sep, cls)
    )
    # The stock classes build their own normalizer, and ask for these.
    options = {"add_prefix_space": False} if cfg.kind == "bpe" else {"do_lower_case": cfg.lower}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, model_max_length=length, bos_token=cls[0], eos_token=sep[0], **marks, **options
    )


def _evenly_spaced(texts: list[str], most: int) -> list[str]:
    """Pieces of the texts, in order, of at most `most` characters together; the texts where they have no more."""
    total = sum(map(len, texts))
    if total <= most:
        return texts
    found, room = [], 0.0
    for text in texts:
        for start in range(0, len(text), _PIECE):
            piece = text[start : start + _PIECE]
            room += len(piece) * most / total
            if room >= len(piece):
                found.append(piece)
                room -= len(piece)
    return found


def _loaded(place: str, length: int) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise ValueError(f"tokenizer.start_from {place!r} cannot be loaded: {str(error).splitlines()[0]}") from error
    if not tokenizer.is_fast:
        raise ValueError(f"tokenizer.start_from {place!r} has no fast tokenizer, which masks and packing need.")
    tokenizer.eos_token = tokenizer.eos_token or tokenizer.sep_token
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    tokenizer.model_max_length = length
    return tokenizer


def _wordpiece(cfg: TokenizerConfig, texts: list[str]) -> Tokenizer:
    def untrained() -> Tokenizer:
        backend = Tokenizer(models.WordPiece(unk_token=_BERT["unk_token"]))
        backend.normalizer = normalizers.BertNormalizer(lowercase=cfg.lower)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
        return backend

    def trained(size: int, first: Iterable[str]) -> dict[str, int]:
        backend = untrained()
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(first), show_progress=False)
        backend.train_from_iterator(texts, trainer)
        return backend.get_vocab()

    # The trainer numbers characters inside words ("##e") as it meets them in a hash table, and breaks ties by number.
    # A first training that may merge nothing finds them; given in order, as marks, they leave nothing to chance.
    marks = list(_BERT.values())
    inside = sorted(token for token in trained(0, marks) if token.startswith("##") and len(token) == 3)
    backend = untrained()
    backend.model = models.WordPiece(trained(cfg.vocabulary, [*marks, *inside]), unk_token=_BERT["unk_token"])
    backend.add_special_tokens(marks)
    return backend


def _bpe(cfg: TokenizerConfig, texts: list[str]) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=cfg.vocabulary,
        special_tokens=list(_ROBERTA.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _unigram(cfg: TokenizerConfig, texts: list[str]) -> Tokenizer:
    marks = list(_BERT.values())
    backend = Tokenizer(models.Unigram())
    lower = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()] if cfg.lower else []
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    backend.normalizer = normalizers.Sequence([*lower, normalizers.NFKC(), *spaces])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    words = Counter[str]()
    for text in texts:
        plain = backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(plain))
    pieces = train_unigram(words, cfg.vocabulary - len(marks))
    backend.model = models.Unigram([(mark, 0.0) for mark in marks] + pieces, unk_id=marks.index(_BERT["unk_token"]))
    backend.add_special_tokens(marks)
    return backend
