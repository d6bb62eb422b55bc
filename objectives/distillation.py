"""DINO: Caron et al. 2021, arXiv 2104.14294: a student gives the answers that its teacher gives to other views.

Two things keep the answers from becoming one: the mean of all is taken off the teacher's scores (no answer wins for
every picture), and its softmax is sharp (the answers do not all become equally likely).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from objectives.precision import full_precision


@full_precision
def cosine_scores(z: Tensor, directions: Tensor) -> Tensor:
    """Scores of every answer: cosines of z (..., d) with directions (k, d), (..., k). Neither needs unit length."""
    return F.normalize(z, dim=-1) @ F.normalize(directions, dim=-1).T


@full_precision
def dino(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float | Tensor = 0.04,
) -> Tensor:
    """Cross-entropy of the teacher's answers and the student's to other views of the same pictures.

    Args:
        student: (v, n, k) scores of all views, v > 1. The first t of them are those that the teacher has seen too.
        teacher: (t, n, k) scores. No gradient goes there.
        centre: (k,) taken off the teacher's scores, see `next_centre`.
        student_temperature, teacher_temperature: divide the scores; the smaller the sharper.

    Returns:
        The mean over rows and over the t * (v - 1) pairs of different views, in nats; log k where the student's answers
        are all equally likely.
    """
    t, v = len(teacher), len(student)
    assert 1 <= t <= v and v > 1 and student.shape[1:] == teacher.shape[1:], (student.shape, teacher.shape)
    answers = teacher_answers(teacher, centre, teacher_temperature)  # (t, n, k)
    log_p = F.log_softmax(student / student_temperature, dim=-1)  # (v, n, k)
    pairs = -torch.einsum("tnk,vnk->tv", answers, log_p) / student.shape[1]  # (t, v)
    return pairs.sum().sub(pairs.diagonal().sum()) / (t * (v - 1))  # one view with itself teaches nothing


@torch.no_grad()
@full_precision
def teacher_answers(teacher: Tensor, centre: Tensor, temperature: float | Tensor) -> Tensor:
    """How likely the teacher finds every answer: scores (..., k) less the centre (k,), sharpened; they sum to 1."""
    return F.softmax((teacher - centre) / temperature, dim=-1)


@torch.no_grad()
def next_centre(centre: Tensor, mean: Tensor, momentum: float = 0.9) -> Tensor:
    """momentum * centre + (1 - momentum) * mean, (k,): the mean is that of all teacher's scores of a step, over views,
    rows and processes. The step itself still takes the old centre."""
    return torch.lerp(centre, mean.to(centre), 1.0 - momentum)


@torch.no_grad()
@full_precision
def answer_entropy(answers: Tensor) -> tuple[Tensor, Tensor]:
    """How undecided single answers are, and how varied all of them.

    Args:
        answers: (..., k) probabilities.

    Returns:
        The mean of the answers' entropies and the entropy of their mean, both as shares of log k. The first is 1 where
        every answer is equally likely, the second 0 where all pictures get the same one; first <= second.
    """
    most = math.log(answers.shape[-1])
    mean = answers.flatten(0, -2).mean(0)  # (k,)
    return torch.special.entr(answers).sum(-1).mean() / most, torch.special.entr(mean).sum() / most
