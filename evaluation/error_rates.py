"""Word and character error rates of transcripts: edits over the length of what was said (Levenshtein 1966)."""

from collections.abc import Sequence


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """Return {"wer", "cer"}: the fewest substitutions, deletions and insertions that make a reference of its
    hypothesis, summed over all texts and divided by the words, or characters with spaces, of all references.

    0 where all agree, 1 for saying nothing, above 1 for saying too much. An empty reference adds its insertions alone.
    Words are what stands between spaces, and several spaces are one. Needs the package jiwer.
    Raises ValueError for lists of different lengths, and for references that are all empty.
    """
    import jiwer

    if len(references) != len(hypotheses):
        raise ValueError(f"error_rates: {len(references)} references for {len(hypotheses)} hypotheses; pass pairs.")
    said = [" ".join(text.split()) for text in references]
    heard = [" ".join(text.split()) for text in hypotheses]
    if not any(said):
        raise ValueError("error_rates: no reference holds a word, so there is nothing to divide by.")
    return {
        "wer": _rate(jiwer.process_words(said, heard)),
        "cer": _rate(jiwer.process_characters(said, heard)),
    }


def _rate(found: object) -> float:
    hits, wrong, lost, more = (getattr(found, name) for name in ("hits", "substitutions", "deletions", "insertions"))
    return float((wrong + lost + more) / (hits + wrong + lost))
