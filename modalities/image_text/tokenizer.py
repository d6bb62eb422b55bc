"""CLIP's tokenizer, trained on captions: lower-cased byte-level BPE with an end-of-word mark (arXiv 2103.00020)."""

import json
from collections.abc import Iterable

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTokenizer

_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def train_clip_tokenizer(captions: Iterable[str], vocabulary: int, length: int) -> CLIPTokenizer:
    """A `CLIPTokenizer` with at most `vocabulary` tokens that cuts captions at `length` tokens.

    Every byte has a token, at the end of a word and elsewhere, whether or not the captions use it. Otherwise an unseen
    character would become the unknown token, which in CLIP is the end token, whose first position is what the text
    tower pools: the caption would be cut there without a word.

    The same captions give the same tokens in every process. Left alone, `tokenizers` numbers marked bytes in the order
    of a hash map that differs from process to process, and breaks ties between merges by these numbers.

    Raises:
        ValueError: when `vocabulary` does not hold the 512 byte tokens, the two marks and at least one merge.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    marked = [byte + _WORD_END for byte in alphabet]
    units = [_START, _END, *alphabet, *marked]
    if vocabulary <= len(units):
        raise ValueError(f"model.vocabulary is {vocabulary}; it must exceed {len(units)}, the bytes and the two marks.")
    backend = CLIPTokenizer().backend_tokenizer
    backend.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=vocabulary - 2,  # the two marks take no part
            special_tokens=marked,  # numbered first, and in this order
            initial_alphabet=alphabet,
            end_of_word_suffix=_WORD_END,
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(backend.to_str())["model"]["merges"]]
    merges = merges[: vocabulary - len(units)]
    tokens = dict.fromkeys([*units, *("".join(pair) for pair in merges)])
    vocab = {token: place for place, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)
