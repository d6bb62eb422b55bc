"""How well cosines of word vectors agree with what people say of pairs of words."""

from collections.abc import Sequence

from evaluation.correlation import pearson, spearman
from evaluation.word_vectors import NamedVectors


def word_similarity(vectors: NamedVectors, pairs: Sequence[tuple[str, str, float]]) -> dict[str, float]:
    """Spearman and Pearson correlation over the pairs whose words both have vectors; coverage, the share of pairs that
    these are; and their number. nan where fewer than two are left: a number without its coverage means nothing.

    Raises ValueError for no pairs at all.
    """
    if not pairs:
        raise ValueError("word_similarity: there are no pairs to judge; pass at least two.")
    cosines, judged = [], []
    for first, second, score in pairs:
        a, b = vectors.find(first), vectors.find(second)
        if a is not None and b is not None:
            cosines.append(float(vectors.unit[a] @ vectors.unit[b]))
            judged.append(score)
    return {
        "spearman": spearman(cosines, judged),
        "pearson": pearson(cosines, judged),
        "coverage": len(judged) / len(pairs),
        "pairs": len(judged),
    }
