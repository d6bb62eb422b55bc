"""DINO's loss against its loops, at its known values, under what must not change it, and over two processes."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from objectives import distillation
from objectives.distillation import answer_entropy, cosine_scores, dino, next_centre, teacher_answers
from objectives.gather import all_reduce, world_size
from tests.reference import distillation as reference
from tests.world import run_in_world

V, T, N, K = 5, 2, 4, 6


def scores(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = ((V, N, K), (T, N, K), (K,))
    return tuple((0.2 * torch.randn(*s, generator=draw, dtype=torch.float64)).to(dtype) for s in shapes)  # type: ignore[return-value]


def same_view_pairs_kept(student: Tensor, teacher: Tensor, centre: Tensor, ts: float, tt: float) -> Tensor:
    """A broken twin: a view is also told apart from itself."""
    wanted = F.softmax((teacher - centre) / tt, -1)
    return -torch.einsum("tnk,vnk->tv", wanted, F.log_softmax(student / ts, -1)).mean() / student.shape[1]


def centre_moved_first(student: Tensor, teacher: Tensor, centre: Tensor, ts: float, tt: float) -> Tensor:
    """A broken twin: the step's own scores are in the centre that is taken off them."""
    return dino(student, teacher, next_centre(centre, teacher.mean((0, 1))), ts, tt)


def centre_added(student: Tensor, teacher: Tensor, centre: Tensor, ts: float, tt: float) -> Tensor:
    return dino(student, teacher, -centre, ts, tt)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_loss_is_that_of_the_loops(dtype: torch.dtype, limit: float) -> None:
    student, teacher, centre = scores(dtype=dtype)
    wanted = reference.dino(student.tolist(), teacher.tolist(), centre.tolist(), 0.1, 0.05)

    def apart(loss: Callable[..., Tensor]) -> float:
        return abs(float(loss(student, teacher, centre, 0.1, 0.05)) - wanted)

    assert apart(dino) < limit
    for broken in (same_view_pairs_kept, centre_moved_first, centre_added):
        assert apart(broken) > 1e-3, broken


def test_one_teacher_view_and_two_student_views() -> None:
    student, teacher, centre = scores()
    for v, t in ((2, 2), (2, 1), (5, 1)):
        wanted = reference.dino(student[:v].tolist(), teacher[:t].tolist(), centre.tolist(), 0.1, 0.05)
        assert float(dino(student[:v], teacher[:t], centre, 0.1, 0.05)) == pytest.approx(wanted, abs=1e-12)


def test_known_values() -> None:
    student, teacher, centre = scores()
    flat = torch.zeros_like(student)
    assert float(dino(flat, teacher, centre)) == pytest.approx(math.log(K), abs=1e-12)
    # Views that all give the teacher's own answers: what is left is the entropy of these.
    same = teacher[:1]
    agreed = dino((same - centre).expand(V, -1, -1), same.expand(T, -1, -1), centre, 0.1, 0.1)
    answers = teacher_answers(same, centre, 0.1)
    assert float(agreed) == pytest.approx(float(torch.special.entr(answers).sum(-1).mean()), abs=1e-12)
    # A teacher that is sure and a student that says the same: nothing.
    sure = 100 * F.one_hot(torch.arange(N) % K, K).double()
    assert float(dino(sure.expand(V, -1, -1), sure.expand(T, -1, -1), torch.zeros(K))) == pytest.approx(0, abs=1e-12)


def test_what_changes_nothing() -> None:
    student, teacher, centre = scores()
    loss = dino(student, teacher, centre)
    order, names = torch.randperm(N), torch.randperm(K)
    for same in (
        dino(student[:, order], teacher[:, order], centre),
        dino(student[..., names], teacher[..., names], centre[names]),
        dino(student + torch.randn(V, N, 1), teacher + torch.randn(T, N, 1), centre),
        dino(student, teacher + 0.3, centre + 0.3),
        dino(torch.cat([student[:2], student[2:].flip(0)]), teacher, centre),
        dino(torch.cat([student[:2].flip(0), student[2:]]), teacher.flip(0), centre),
    ):
        assert torch.allclose(same, loss, atol=1e-12, rtol=0)
    assert abs(float(dino(student, teacher.flip(0), centre) - loss)) > 1e-4  # the broken twin: views mixed up


def test_gradients() -> None:
    student, teacher, centre = scores()
    student.requires_grad_()
    teacher.requires_grad_()
    dino(student, teacher, centre).backward()
    assert teacher.grad is None and student.grad is not None
    # of a cross-entropy: what the student says less what it is to say, over the views that teach it
    answers, said = teacher_answers(teacher, centre, 0.04), F.softmax(student / 0.1, -1)
    teachers = [[1], [0], [0, 1], [0, 1], [0, 1]]
    wanted = torch.stack([sum(said[v] - answers[t] for t in ts) for v, ts in enumerate(teachers)])  # type: ignore[misc]
    assert torch.allclose(student.grad, wanted.detach() / 0.1 / (N * T * (V - 1)), atol=1e-12, rtol=0)


def test_the_centre() -> None:
    _, teacher, centre = scores()
    wanted = reference.next_centre(centre.tolist(), teacher.tolist(), 0.9)
    found = next_centre(centre, teacher.mean((0, 1)))
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    assert next_centre(centre, teacher.mean((0, 1)), 0.1).tolist() != pytest.approx(wanted, abs=1e-3)
    for _ in range(300):  # of the same scores it becomes their mean, whatever it was
        centre = next_centre(centre, teacher.mean((0, 1)))
    assert torch.allclose(centre, teacher.mean((0, 1)), atol=1e-12, rtol=0)


def test_cosine_scores() -> None:
    draw = torch.Generator().manual_seed(2)
    z, directions = (torch.randn(n, 3, generator=draw, dtype=torch.float64) for n in (N, K))
    found = cosine_scores(z, directions)
    wanted = torch.tensor(reference.cosine_scores(z.tolist(), directions.tolist()), dtype=torch.float64)
    assert torch.allclose(found, wanted, atol=1e-12, rtol=0)
    longer = directions * torch.rand(K, 1, generator=draw, dtype=torch.float64).add(0.5)
    assert torch.allclose(cosine_scores(3 * z, longer), found, atol=1e-12, rtol=0)
    assert not torch.allclose(z @ longer.T, found, atol=1e-3)


def test_entropies_of_answers() -> None:
    flat, sure = torch.full((2, N, K), 1 / K), F.one_hot(torch.arange(2 * N) % K, K).double().view(2, N, K)
    assert [float(one) for one in answer_entropy(flat)] == pytest.approx([1, 1])
    assert [float(one) for one in answer_entropy(sure[:, :1].expand(2, N, K).clone())] == pytest.approx(
        [0, math.log(2) / math.log(K)]
    )
    all_used = torch.eye(K).double()[None]
    assert [float(one) for one in answer_entropy(all_used)] == pytest.approx([0, 1])
    answers = F.softmax(scores()[1] / 0.04, -1)
    single, together = answer_entropy(answers)
    assert 0 < single < together < 1


def test_half_precision_is_widened() -> None:
    student, teacher, centre = scores(dtype=torch.float32)
    rough = [one.to(torch.bfloat16) for one in (student, teacher)]
    with torch.autocast("cpu", torch.bfloat16):
        found = dino(*rough, centre)
        assert cosine_scores(rough[0], torch.randn(3, K)).dtype == torch.float32
    assert found.dtype == torch.float32
    assert torch.equal(found, dino(rough[0].float(), rough[1].float(), centre))


def steps_on(rank: int, world: int, local: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient of a linear student and centre after three steps on this rank's rows."""
    draw = torch.Generator().manual_seed(5)
    weight = torch.randn(K, 3, generator=draw, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(K, 3, generator=draw, dtype=torch.float64)
    centre, losses = torch.zeros(K, dtype=torch.float64), []
    for _ in range(3):
        x = torch.randn(V, N, 3, generator=draw, dtype=torch.float64)
        share = x[:, rank * N // world : (rank + 1) * N // world]
        said, taught = cosine_scores(share, weight), cosine_scores(share[:T], teacher)
        losses.append(distillation.dino(said, taught, centre))
        mean = taught.mean((0, 1))
        centre = next_centre(centre, mean if local else all_reduce(mean) / world_size())
    loss = torch.stack(losses).mean()
    (gradient,) = torch.autograd.grad(loss, weight)
    return loss.detach(), gradient, centre


def every_step() -> dict[str, tuple[Tensor, ...]]:
    found = {}
    for name, local in (("right", False), ("local centre", True)):
        loss, gradient, centre = steps_on(dist.get_rank(), 2, local)
        for one in (loss, gradient):  # as DistributedDataParallel does
            dist.all_reduce(one)
            one /= 2
        found[name] = (loss, gradient, centre)
    return found


def test_two_processes_equal_one() -> None:
    alone = steps_on(0, 1)
    for found in run_in_world(every_step):
        for one, other in zip(found["right"], alone, strict=True):
            assert (one - other).abs().max() < 1e-12
        assert all((one - other).abs().max() > 1e-6 for one, other in zip(found["local centre"], alone, strict=True))
