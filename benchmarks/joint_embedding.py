"""Joint-embedding methods against lightly: the same encoder, heads, initial weights, pictures, batches and optimizer.

    pip install lightly
    python -m benchmarks.joint_embedding simclr [--pairs 5] [--given]       # CPU seconds of a step
    python -m benchmarks.joint_embedding simclr --learn [--seeds 3]         # what both have learnt, by kNN

Methods: simclr, moco, byol, barlow-twins, swav, dino, at the settings of recipes/joint_tasks.py. The peer is built of
lightly's losses, moving average and transforms as its examples are (see `lightly_peer`); a step is views, forward,
backward, clipping, AdamW (fused in both) and the teacher. `--given` makes the views before the clock runs.

First both losses must agree, value and gradient, in double precision on the same embeddings, or nothing else is done.
Then the two take turns, each measurement in a fresh process of one thread.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed
from torch import Tensor

from benchmarks import lightly_peer
from benchmarks.paired import compare, measure
from evaluation.knn import knn
from modalities.draws import mix
from modalities.pictures.rows import ImageSet
from modalities.task import Batch
from modalities.vision.backbones import build_image_processor
from modalities.vision.collate import ImageCollate
from modalities.vision.indexed import Indexed
from modalities.vision.joint.task import JointTask
from modalities.vision.sources import load
from recipes.joint_tasks import METHODS, PRESETS, Config
from recipes.vision_measure import features, labelled
from trainers.config import TrainConfig
from trainers.loop import fit
from trainers.optim import build_optimizer

COMPARED = ("simclr", "moco", "byol", "barlow-twins", "swav", "dino")
STEPS = 6  # of a measurement


def build(config: Config, seed: int) -> JointTask:
    """The same weights each time."""
    set_seed(seed)
    return METHODS[type(config.task)](config.model, config.views, config.task)


def collator(form: str, config: Config, task: JointTask, data: ImageSet) -> Any:
    """What makes batches: pictures and seeds of ours, views of lightly's."""
    pictures = ImageCollate(config.data.side)
    if form == "ours":
        return Indexed(pictures, data.train.ids.tolist()) if task.indexed else pictures
    rows = data.train.__getitems__(list(range(len(data.train))))
    squares = pictures(rows)["images"].permute(0, 2, 3, 1).numpy()
    return lightly_peer.LightlyViews(config.views, {row["id"]: x for row, x in zip(rows, squares, strict=True)})


def model(form: str, task: JointTask) -> Any:
    """The method of either side, from the same weights."""
    return task if form == "ours" else lightly_peer.PEERS[type(task)](task)


def batches(config: Config, data: ImageSet, collate: Any) -> Iterator[Batch]:
    """STEPS of them, each of other pictures."""
    size = config.train.batch_size
    order = np.random.default_rng(0).permutation(len(data.train))
    for step in range(STEPS):
        places = order[step * size : (step + 1) * size]
        yield collate(data.train.__getitems__(places.tolist()), mix(places.astype(np.uint64)))


def train(module: Any, found: Iterator[Batch], cfg: TrainConfig) -> None:
    """What `fit` does in a step, and no more."""
    optimizer = build_optimizer(module, cfg)
    for step, batch in enumerate(found):
        optimizer.zero_grad()
        module(batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), cfg.clip_norm)
        optimizer.step()
        module.after_step((step + 1) / STEPS)


def with_given_views(task: JointTask, config: Config, found: list[Batch]) -> list[Batch]:
    """Batches whose views `task` need not make."""
    for batch in found:
        batch["large"] = task.large(batch)
        if config.views.small_count:
            batch["small"] = task.small(batch)
    task.large = lambda batch: batch["large"]  # type: ignore[method-assign]
    task.small = lambda batch: batch["small"]  # type: ignore[method-assign]
    return found


def run_form(form: str, config: Config, given: bool) -> None:
    """One measurement, in a process of its own."""
    data = load(config.data)
    task = build(config, 0)
    module, collate = model(form, task).train(), collator(form, config, task, data)
    found: Any = batches(config, data, collate)
    if given:
        found = list(found)
        found = with_given_views(task, config, found) if form == "ours" else found
        train(module, iter(found[:1]), config.train)
    else:
        train(module, itertools.islice(batches(config, data, collate), 1), config.train)  # loads the kernels
    measure(lambda: train(module, iter(found), config.train))


def losses(task: Any, views: int) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Our loss and lightly's as functions of embeddings (n, d) of `views` views."""
    peer = lightly_peer.PEERS[type(task)](task).double()
    name = type(task).__name__
    if name in ("SimCLR", "BarlowTwins"):
        return lambda *z: task.loss_from(*z)["loss"], peer.criterion
    if name == "MoCo":
        earlier = F.normalize(torch.randn(task.cfg.queue, task.cfg.width, dtype=torch.float64), dim=1)
        task.past.push(earlier, torch.full((len(earlier),), -1))
        peer.criterion.memory_bank.bank = earlier
        index = torch.arange(32)
        ours = lambda q, k: task.loss_from(q[:, None], k.detach()[:, None], index, index)["loss"]  # noqa: E731
        return ours, lambda q, k: peer.criterion(q, k.detach())
    if name == "BYOL":
        from objectives.bootstrap import cosine_gap

        # lightly's examples have -cos of one direction; ours the mean of both of 2 - 2 cos.
        return lambda p, t: cosine_gap(p, t.detach()), lambda p, t: 1 + peer.criterion(p, t.detach())
    if name == "SwAV":
        peer.prototypes.normalize()

        def theirs(*z: Tensor) -> Tensor:
            scores = [peer.prototypes(F.normalize(each, dim=1)) for each in z]
            loss: Tensor = peer.criterion(scores[:2], scores[2:])
            return loss

        return lambda *z: task.loss_from(*(F.normalize(each, dim=1) for each in z))["loss"], theirs

    def of_both(*z: Tensor) -> Tensor:
        taught = torch.stack([each.detach() for each in z[:2]], 1)
        loss: Tensor = task.loss_from(torch.stack(z, 1), taught)["loss"]
        return loss

    def of_theirs(*z: Tensor) -> Tensor:
        taught = [task.teacher_head.scores(each.detach()) for each in z[:2]]
        temperature = float(task.teacher_temperature)
        loss: Tensor = peer.criterion(taught, [task.head.scores(each) for each in z], teacher_temp=temperature)
        return loss

    return of_both, of_theirs


def gate(config: Config) -> float:
    """The largest difference between the two losses and between their gradients, for embeddings drawn at random."""
    task: Any = build(config, 0).double().eval()
    width = getattr(task.cfg, "bottleneck", None) if hasattr(task, "cfg") else None
    width = width or getattr(config.task, "width")  # noqa: B009
    views = 2 + config.views.small_count
    draw = torch.Generator().manual_seed(1)
    z = [torch.randn(32, width, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(views)]
    found = []
    for loss in losses(task, views):
        value = loss(*z)
        gradients = torch.autograd.grad(value, z, allow_unused=True)
        found.append([value.detach(), *(g if g is not None else torch.zeros_like(z[0]) for g in gradients)])
    return max(float((one - other).abs().max()) for one, other in zip(*found, strict=True))


def learn(config: Config, seeds: int) -> None:
    """kNN on held-out pictures after training, ours and lightly's, over seeds."""
    data = load(config.data)
    known = labelled(data, config.eval)
    assert known is not None
    processor = build_image_processor(config.model)
    scores: dict[str, list[float]] = {"lightly": [], "ours": []}
    for seed in range(seeds):
        for form, found in scores.items():
            with tempfile.TemporaryDirectory() as folder:
                task = build(config, seed)
                cfg = replace(config.train, out=Path(folder), seed=seed, evaluate_every=0, save_every=0, tracker="none")
                trained = fit(model(form, task), data.train, collator(form, config, task, data), cfg)
            train_x, test_x = (
                list(features(trained.export(), x, processor).values())[-1] for x in (known.train, known.test)
            )
            found.append(100 * knn(train_x, known.train_labels, test_x, known.labels)["accuracy"])
        print(f"seed {seed}: " + ", ".join(f"{form} {found[-1]:.1f}" for form, found in scores.items()), flush=True)
    for form, found in scores.items():
        spread = f" ± {statistics.stdev(found):.1f}" if seeds > 1 else ""
        print(f"{form}: kNN {statistics.mean(found):.1f}{spread} over {seeds} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=COMPARED)
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each form")
    parser.add_argument("--given", action="store_true", help="make the views before the clock runs")
    parser.add_argument("--learn", action="store_true", help="compare what is learnt instead of the time")
    parser.add_argument("--seeds", type=int, default=3, help="with --learn")
    parser.add_argument("--steps", type=int, default=0, help="with --learn; 0: as the recipe")
    parser.add_argument("--form", choices=("lightly", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = PRESETS[options.method]
    if options.steps:
        config = replace(config, train=replace(config.train, steps=options.steps))
    if options.form:
        torch.set_num_threads(1)
        run_form(options.form, config, options.given)
        return
    error = gate(config)
    print(f"{options.method}: losses and gradients on the same embeddings differ by {error:.1e} (limit 1e-12)")
    if not error < 1e-12:
        raise SystemExit("The losses disagree; nothing else was done.")
    if options.learn:
        learn(config, options.seeds)
    else:
        given = ["--given"] if options.given else []
        compare("benchmarks.joint_embedding", "lightly", "ours", options.pairs, options.method, *given)


if __name__ == "__main__":
    main()
