"""Vectors of tokens from what stands near them: the positive pointwise mutual information of co-occurrence, factorised
(Levy and Goldberg 2014, NIPS; context distribution smoothing: Levy et al. 2015, TACL).

Minutes of masked language modelling leave a new encoder knowing how frequent its tokens are and little more; counting
tells it in seconds which of them are alike.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array
from sklearn.utils.extmath import randomized_svd
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Ints = npt.NDArray[np.int64]
_SMOOTHING = 0.75  # power of the contexts' frequencies: rare ones would else have the highest information
_SCALE = 0.2  # standard deviation: well above that of positions and types, which are added to it


def token_vectors(documents: Sequence[Ints], tokens: int, width: int, window: int = 8) -> npt.NDArray[np.float32]:
    """documents: token numbers of each. -> (tokens, width) of mean 0 and standard deviation 1; 0 for those that never
    stood beside another one.

    Raises:
        ValueError: where the documents have no two tokens side by side, or too few of them for `width`.
    """
    counts = _near(documents, tokens, window)
    seen = np.flatnonzero(counts.sum(1))
    if len(seen) <= width:
        raise ValueError(
            f"Token vectors of width {width} need more than the {len(seen)} different tokens that the texts have; "
            "lower model.width, or set pretrain.window 0."
        )
    left, values, _ = randomized_svd(_information(counts), width, n_iter=3, random_state=0)
    vectors = np.zeros((tokens, width), dtype=np.float32)
    known = (left * np.sqrt(values))[seen]
    known -= known.mean(0)
    vectors[seen] = known / known.std()
    return vectors


def start_from_counts(
    encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], window: int = 8
) -> None:
    """Set the encoder's token embeddings to `token_vectors` of `texts`; tokens that never occur keep their own."""
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    weight: Tensor = encoder.get_input_embeddings().weight  # type: ignore[assignment]
    vectors = token_vectors([np.array(ids, dtype=np.int64) for ids in encoded], len(weight), weight.shape[1], window)
    found = torch.from_numpy(vectors * _SCALE).to(weight)
    with torch.no_grad():
        weight.copy_(torch.where(found.any(1, keepdim=True), found, weight))


def _near(documents: Sequence[Ints], tokens: int, window: int) -> csr_array:
    """How often two tokens stand at most `window` places apart, (tokens, tokens), symmetric."""
    ids = np.concatenate(documents)
    document = np.repeat(np.arange(len(documents)), [len(one) for one in documents])
    total = csr_array((tokens, tokens), dtype=np.float64)
    for apart in range(1, window + 1):
        same = document[apart:] == document[:-apart]
        pair = ids[:-apart][same], ids[apart:][same]
        total = total + coo_array((np.ones(same.sum()), pair), shape=(tokens, tokens)).tocsr()
    return csr_array(total + total.T)


def _information(counts: csr_array) -> csr_array:
    """log p(a, b) / (p(a) p'(b)) where positive, else 0; p' is smoothed."""
    found = counts.tocoo()
    often = np.asarray(counts.sum(1)).ravel()
    context = often**_SMOOTHING / (often**_SMOOTHING).sum()
    bits = np.log(found.data / often[found.row] / context[found.col])
    kept = bits > 0
    return csr_array((bits[kept], (found.row[kept], found.col[kept])), shape=counts.shape)
