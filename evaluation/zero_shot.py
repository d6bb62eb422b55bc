"""Zero-shot classification with prompt templates. CLIP, arXiv 2103.00020, section 3.1."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from evaluation.accuracy import accuracies
from evaluation.arrays import Floats, column, matrix, row_chunks, same_width, unit_rows
from evaluation.ties import hits


def class_vectors(
    encode_text: Callable[[list[str]], ArrayLike],
    class_names: Sequence[str | Sequence[str]],
    templates: Sequence[str],
) -> Floats:
    """One unit vector per class, (c, d): the mean over its prompts of *normalised* vectors, normalised again.

    encode_text maps a list of p prompts to (p, d) and is called once per class. A class has one name or
    several; every name is put into every template at "{}". Averaging before normalising would let the
    prompts with the longest vectors speak for the class.

    Raises ValueError for no classes, a class without names, no templates, or a template without "{}".
    """
    if not class_names:
        raise ValueError("class_vectors: there are no classes; pass at least one class name.")
    if not templates:
        raise ValueError('class_vectors: there are no templates; pass ["{}"] to use the bare names.')
    for template in templates:
        if "{}" not in template:
            raise ValueError(f'class_vectors: template "{template}" has no "{{}}" for the class name.')
    means = []
    for number, names in enumerate(class_names):
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise ValueError(f"class_vectors: class {number} has no name; give it at least one.")
        prompts = [template.replace("{}", name) for name in names for template in templates]
        vectors = unit_rows(matrix(encode_text(prompts), f"prompts of class {number}"))  # (p, d)
        means.append(vectors.mean(axis=0))
    return unit_rows(np.stack(means))  # (c, d)


def zero_shot(image: ArrayLike, class_vectors: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return {"accuracy", "balanced_accuracy"} of taking the class nearest by cosine.

    image (n, d), class_vectors (c, d), labels (n,) integers in [0, c). Classes at equal similarity share
    the credit: a constant image encoder is not rewarded, identical class vectors score 1/c.
    Raises ValueError for NaN or infinity, empty sets, widths that differ, or a label outside [0, c).
    """
    image, classes = matrix(image, "image"), matrix(class_vectors, "class_vectors")
    same_width(image, classes, "image and class_vectors")
    wanted = column(labels, len(image), "labels")
    if wanted.dtype.kind not in "iu" or wanted.min() < 0 or wanted.max() >= len(classes):
        raise ValueError(
            f"zero_shot: labels {wanted.min()} to {wanted.max()} do not number {len(classes)} class vectors; "
            f"use the integers 0 to {len(classes) - 1}."
        )
    classes = unit_rows(classes)
    correct = np.empty(len(image))
    for rows in row_chunks(len(image), len(classes)):
        scores = unit_rows(image[rows]) @ classes.T  # (chunk, c)
        correct[rows] = hits(scores, wanted[rows, None] == np.arange(len(classes)), (1,))[:, 0]
    return accuracies(correct, wanted)
