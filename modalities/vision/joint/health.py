"""Signs of health of a run that compares embeddings, and in plain words what a bad one means.

Collapse is silent: a loss may fall all the way while every picture gets the same embedding.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from objectives.diagnostics import alignment, effective_rank, embedding_std, uniformity

_FLAT = 0.05  # of the deviation of embeddings that are spread evenly
_UNDECIDED, _ONE_ANSWER = 0.999, 0.05  # shares of the largest entropy that answers can have
_NO_VARIANCE = 0.94  # of VICReg's term, which is 0.99 where all embeddings are one
_STRANGERS = 1.9  # squared distance of views; 2 for unrelated directions
_LINE = 1.5  # dimensions in use
_TWO_PLACES = -1.0  # about the uniformity of directions u and -u in equal shares: log(1/2), less for few pairs
_FEW = 8  # rows, of which any embeddings have a small rank
_MOST = 256  # rows that the rank and the distances of all pairs are taken of: their cost grows as a power
_ALONE = 1.05  # clusters or classes in use: one has about 99 % of the pictures
_ALL = 0.9  # of the pictures in one cluster, where empty clusters are given single ones


@torch.no_grad()
def health(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """Scalars to log of embeddings (n, d) of two views of the same n pictures (of this process); none where n is 1, the
    effective rank from 8 pictures on, which it and the uniformity take at most 256 of.

    embedding_std is in units of 1 / sqrt(d): 1 where embeddings are spread evenly over the sphere, 0 when all are one.
    The others: see `objectives.diagnostics`.
    """
    if len(z1) < 2:
        return {}  # a micro-batch of one picture has nothing to spread
    rank = {"effective_rank": effective_rank(z1[:_MOST])} if len(z1) >= _FEW else {}
    return rank | {
        "embedding_std": embedding_std(z1) * z1.shape[1] ** 0.5,
        "alignment": alignment(z1, z2),
        "uniformity": uniformity(z1[:_MOST]),
    }


def verdict(scalars: Mapping[str, float], labelled: bool = False, centred: bool = False) -> str:
    """What these scalars say is wrong, in one sentence with a remedy; nothing where all is well.

    labelled: pictures of one class may have one embedding, so those of two classes may lie on a line.
    centred: embeddings come without their mean. Were all one, what is left would be noise, which looks well spread; but
    then the views of a picture are no more alike than those of two pictures.
    """
    undecided, varied = scalars.get("teacher_entropy", 0.5), scalars.get("answer_entropy", 1.0)
    if undecided > _UNDECIDED:
        return (
            f"the teacher finds all answers equally likely for every picture (entropy {undecided:.4f} of the most that "
            "there can be), so there is nothing to learn from it; lower task.teacher_temperature or train.lr."
        )
    if varied < _ONE_ANSWER:
        return (
            f"the teacher gives all pictures the same answer (the entropy of its mean answer is {varied:.3f} of the "
            "most that there can be), so there is nothing to learn from it; lower task.centre_momentum, or raise "
            "task.teacher_temperature."
        )
    spread = scalars.get("embedding_std", 1.0)
    if spread < _FLAT:
        return (
            f"all pictures get nearly the same embedding (their deviation is {spread:.3f} of that of evenly spread "
            "ones), so the run has collapsed and teaches nothing; lower train.lr, take a longer train.warmup or a "
            "larger train.batch_size, or give views that differ more."
        )
    if scalars.get("variance", 0.0) > _NO_VARIANCE:
        return (
            f"no dimension varies over pictures (the variance term is {scalars['variance']:.3f}, and 0.99 at worst), "
            "so the run has collapsed and teaches nothing; raise task.std or lower train.lr."
        )
    apart = scalars.get("alignment", 0.0)
    if centred and apart > _STRANGERS:
        return (
            f"views of a picture are no more alike than strangers (their squared distance is {apart:.2f}, and 2 for "
            "unrelated ones), so what differs is noise; lower train.lr, take a longer train.warmup or views that "
            "differ less."
        )
    rank = scalars.get("effective_rank", 2.0)
    if not labelled and rank < _LINE and scalars.get("uniformity", -1.0) > _TWO_PLACES:
        return (
            f"embeddings of pictures differ along one line alone (their effective rank is {rank:.2f}), so the run has "
            "collapsed and teaches little; lower train.lr, take a longer train.warmup or a larger train.batch_size."
        )
    guessed = scalars.get("classes_guessed", 2.0)
    if guessed < _ALONE:
        return (
            f"all pictures are guessed to be of one class ({guessed:.2f} are in use), so guesses teach nothing; lower "
            "train.lr or task.weight, or raise task.confidence or task.labels."
        )
    used = scalars.get("clusters_used", 2.0)
    if used < _ALONE or scalars.get("largest_cluster", 0.0) > _ALL:
        return (
            f"nearly all pictures are nearest to one of the clusters ({used:.2f} are in use), so there is nothing left "
            "to tell apart; lower train.lr, take a longer train.warmup or a larger train.batch_size."
        )
    return ""
