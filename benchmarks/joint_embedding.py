"""Joint-embedding methods against lightly: the same encoder, heads, initial weights, pictures, batches and optimizer.

    pip install lightly
    python -m benchmarks.joint_embedding simclr [--pairs 5] [--given]       # CPU seconds of a step
    python -m benchmarks.joint_embedding simclr --learn [--seeds 3]         # what both have learnt, by kNN

Methods: simclr, moco, byol, barlow-twins, swav, dino, at the settings of recipes/joint_tasks.py. The peer is built of
lightly's losses, moving average and transforms as its examples are (see `lightly_peer`); a step is views, forward,
backward, clipping, AdamW (fused in both) and the teacher. `--given` makes the views before the clock runs.

First both must agree in double precision on the same views, loss and every weight's gradient, or nothing else is done.
Then the two take turns, each measurement in a fresh process of one thread.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import set_seed

from benchmarks import lightly_peer
from benchmarks.paired import compare, measure
from evaluation.knn import knn
from modalities.draws import mix
from modalities.pictures.rows import ImageSet
from modalities.task import Batch
from modalities.vision.backbones import build_image_processor
from modalities.vision.collate import ImageCollate
from modalities.vision.indexed import Indexed
from modalities.vision.joint.byol import BYOL
from modalities.vision.joint.dino import DINO
from modalities.vision.joint.moco import MoCo
from modalities.vision.joint.swav import SwAV
from modalities.vision.joint.task import JointTask
from modalities.vision.sources import load
from recipes.joint_tasks import METHODS, PRESETS, Config
from recipes.vision_measure import features, labelled
from trainers.config import TrainConfig
from trainers.loop import fit
from trainers.optim import build_optimizer

COMPARED = ("simclr", "moco", "byol", "barlow-twins", "swav", "dino")
STEPS = 6  # of a measurement
GATED = 8  # pictures on which both losses must agree


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


def gate(config: Config) -> float:
    """The largest difference (relative, of what is above 1) between both methods' losses, between the gradients of all
    weights, and of DINO between the next centres: on the same views, in double precision, with a teacher that is no
    copy and a memory that is not empty. Batch norms are in evaluation mode: in training it would show whether views
    share a pass."""
    task: Any = build(config, 0).double().eval()
    draw = torch.Generator().manual_seed(1)
    noise = torch.rand(GATED, 3, 5, 5, generator=draw)
    pictures = (F.interpolate(noise, size=config.data.side, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
    batch = {"images": pictures, "seeds": torch.arange(GATED) * 7919, "index": torch.arange(GATED)}
    with torch.no_grad():
        for weight in task.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=draw, dtype=torch.float64))
        if isinstance(task, DINO):
            task.centre.normal_(std=0.1, generator=draw)
        if isinstance(task, SwAV):
            task.prototypes.copy_(F.normalize(task.prototypes, dim=1))
    peer: Any = model("lightly", task).double().eval()
    if isinstance(task, MoCo):
        earlier = torch.randn(task.cfg.queue, task.cfg.width, generator=draw, dtype=torch.float64)
        peer.criterion.memory_bank.bank = F.normalize(earlier, dim=1)
        task.past.push(peer.criterion.memory_bank.bank, torch.full((len(earlier),), -1))
    if isinstance(task, DINO):
        peer.criterion.center.copy_(task.centre)
    views = {"large": task.large(batch).unflatten(0, (2, GATED)).transpose(0, 1)}  # (n, 2, 3, s, s)
    if config.views.small_count:
        views["small"] = task.small(batch).unflatten(0, (-1, GATED)).transpose(0, 1)
    task.training = True  # the method itself, which then keeps what its teacher has said; not the layers in it
    ours, theirs = task(batch)["loss"], peer(views)["loss"]
    ours.backward()
    theirs.backward()
    shift = 2 if isinstance(task, BYOL) else 0  # 2 - 2 cos against -2 cos
    pairs = [(ours.detach(), theirs.detach() + shift)]
    other = dict(peer.named_parameters())
    if isinstance(task, SwAV):
        of_theirs = other["prototypes"] = other.pop("prototypes.heads.0.weight")
        unit, slope = of_theirs.detach(), of_theirs.grad
        slope -= (slope * unit).sum(1, keepdim=True) * unit  # ours are normalised where they are used, in the graph
    pairs += [(weight.grad, other[name].grad) for name, weight in task.named_parameters() if weight.grad is not None]
    if isinstance(task, DINO):
        task.after_step(0.0)
        pairs.append((task.centre, peer.criterion.center.flatten()))
    return max(float((one - another).abs().max() / another.abs().max().clamp(min=1)) for one, another in pairs)


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
    if seeds > 1:
        print(in_words(scores["ours"], scores["lightly"]))


def in_words(ours: list[float], theirs: list[float]) -> str:
    """The difference of the means, and whether it is beyond the spread over seeds: the pooled standard deviation."""
    gap = statistics.mean(ours) - statistics.mean(theirs)
    spread = ((statistics.variance(ours) + statistics.variance(theirs)) / 2) ** 0.5
    place = "within" if abs(gap) <= spread else f"{'higher' if gap > 0 else 'lower'}, outside of"
    return f"Ours is {gap:+.1f} from lightly: {place} the spread of {spread:.1f} over seeds."


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
    steps = config.train.steps if options.learn else STEPS
    print(
        f"lightly {version('lightly')}, torch {torch.__version__}, {steps} steps of {config.train.batch_size} pictures"
    )
    error = gate(config)
    print(f"{options.method}: losses and gradients on the same views differ by {error:.1e} (limit 1e-12)")
    if not error < 1e-12:
        raise SystemExit("The losses disagree; nothing else was done.")
    if options.learn:
        learn(config, options.seeds)
    else:
        given = ["--given"] if options.given else []
        compare("benchmarks.joint_embedding", "lightly", "ours", options.pairs, options.method, *given)


if __name__ == "__main__":
    main()
