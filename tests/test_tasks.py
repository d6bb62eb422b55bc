"""One contract for every task, found by walking the modalities: whatever is added there is held to it.

A new task needs one line in `EXAMPLES`: a function that builds a tiny instance and a batch for it.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import CLIPVisionConfig, CLIPVisionModel

import modalities
from modalities.image_text.clip import Clip
from modalities.image_text.towers import ModelConfig, build_processor, build_towers
from modalities.supervised import Supervised
from modalities.task import Batch, Task
from modalities.vision.joint.task import JointTask
from tests.audio import (
    examples_audio_text,
    examples_cola,
    examples_cpc,
    examples_ctc,
    examples_hubert,
    examples_labelled,
    examples_wav2vec2,
)
from tests.image_text.files import TINY
from tests.text import (
    examples_bert,
    examples_code_text,
    examples_electra,
    examples_fine_tuning,
    examples_gpt,
    examples_neighbours,
    examples_sentences,
    examples_words,
)
from tests.vision import examples_colour, examples_masked, examples_pixels, examples_relations, examples_supervised
from tests.vision.joint import (
    examples_assignment,
    examples_clusters,
    examples_contrast,
    examples_dino,
    examples_moco,
    examples_no_negatives,
    examples_views,
)
from tests.world import run_in_world
from trainers import checkpoint
from trainers.config import TrainConfig
from trainers.optim import build_optimizer

ROWS = 8
CAPTIONS = ["red cat", "blue dog", "green bird", "small red fish", "old cow", "a fox", "two mice", "one grey owl"]


@cache
def processor_of(objective: str) -> Any:
    return build_processor(towers_of(objective), CAPTIONS)


def towers_of(objective: str) -> ModelConfig:
    return dataclasses.replace(TINY, objective=objective)  # type: ignore[arg-type]


def pixels() -> Tensor:
    return torch.randn(ROWS, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def clip(objective: str) -> tuple[Task, Batch]:
    processor = processor_of(objective)
    tokens = processor.tokenizer(CAPTIONS, padding="max_length", max_length=12, return_tensors="pt")
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6, 1])  # two rows show the same thing
    batch = {"pixel_values": pixels(), "ids": ids, **{n: tokens[n] for n in ("input_ids", "attention_mask")}}
    return Clip(build_towers(towers_of(objective), processor), processor, objective), batch


def supervised() -> tuple[Task, Batch]:
    shape = {"image_size": 16, "patch_size": 8, "hidden_size": 16, "intermediate_size": 32}
    encoder = CLIPVisionModel(CLIPVisionConfig(num_hidden_layers=1, num_attention_heads=2, **shape))
    return Supervised(encoder, 16, 3), {"pixel_values": pixels(), "labels": torch.arange(ROWS) % 3}


EXAMPLES: dict[str, tuple[type[Task], Callable[[], tuple[Task, Batch]]]] = {
    "clip": (Clip, lambda: clip("clip")),
    "siglip": (Clip, lambda: clip("siglip")),
    "supervised": (Supervised, supervised),
    **examples_relations.EXAMPLES,
    **examples_pixels.EXAMPLES,
    **examples_colour.EXAMPLES,
    **examples_masked.EXAMPLES,
    **examples_supervised.EXAMPLES,
    **examples_words.EXAMPLES,
    **examples_gpt.EXAMPLES,
    **examples_bert.EXAMPLES,
    **examples_electra.EXAMPLES,
    **examples_sentences.EXAMPLES,
    **examples_neighbours.EXAMPLES,
    **examples_code_text.EXAMPLES,
    **examples_fine_tuning.EXAMPLES,
    **examples_cpc.EXAMPLES,
    **examples_wav2vec2.EXAMPLES,
    **examples_hubert.EXAMPLES,
    **examples_cola.EXAMPLES,
    **examples_audio_text.EXAMPLES,
    **examples_ctc.EXAMPLES,
    **examples_labelled.EXAMPLES,
    **examples_assignment.EXAMPLES,
    **examples_clusters.EXAMPLES,
    **examples_contrast.EXAMPLES,
    **examples_dino.EXAMPLES,
    **examples_moco.EXAMPLES,
    **examples_no_negatives.EXAMPLES,
    **examples_views.EXAMPLES,
}
WITHOUT_GRADIENT_ACROSS: set[str] = {
    *examples_assignment.WITHOUT_GRADIENT_ACROSS,
    *examples_clusters.WITHOUT_GRADIENT_ACROSS,
    *examples_contrast.WITHOUT_GRADIENT_ACROSS,
    *examples_dino.WITHOUT_GRADIENT_ACROSS,
    *examples_moco.WITHOUT_GRADIENT_ACROSS,
    *examples_views.WITHOUT_GRADIENT_ACROSS,
}
JOINT = [name for name, (kind, _) in EXAMPLES.items() if issubclass(kind, JointTask)]
COUPLED = [name for name, (kind, _) in EXAMPLES.items() if kind.coupled]


def build(name: str) -> tuple[Task, Batch]:
    """The task and batch of an example in fp64, the same ones each time."""
    torch.manual_seed(0)
    task, batch = EXAMPLES[name][1]()
    return task.double().train(), batch


def tasks() -> Iterator[type[Task]]:
    """Every subclass of Task that the modalities define, but for those that leave `forward` to their own subclasses."""
    for module in pkgutil.walk_packages(modalities.__path__, "modalities."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            of_this_module = issubclass(kind, Task) and kind.__module__ == module.name
            if of_this_module and kind.forward is not Task.forward:
                yield kind


def without_example(found: Iterator[type[Task]]) -> list[str]:
    known = {kind for kind, _ in EXAMPLES.values()}
    return [f"{kind.__module__}.{kind.__name__} has no line in EXAMPLES of tests/test_tasks.py" for kind in found
            if kind not in known]  # fmt: skip


def test_every_task_has_an_example() -> None:
    assert {Clip, Supervised} <= set(tasks())
    assert without_example(tasks()) == []
    new = type("New", (Task,), {})
    (sentence,) = without_example(iter([new, Clip]))
    assert "New has no line in EXAMPLES" in sentence


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_loss_is_a_finite_scalar_that_reaches_the_encoder(name: str) -> None:
    task, batch = build(name)
    out = task(batch)
    assert all(value.shape == () and torch.isfinite(value) for value in out.values())
    out["loss"].backward()
    trained = {n: p for n, p in task.named_parameters() if p.requires_grad}
    # A weight that never has a gradient stops DistributedDataParallel at its second step.
    assert [n for n, p in trained.items() if p.grad is None] == []
    encoder = [p for n, p in trained.items() if n.startswith("encoder.")]
    assert sum(p.grad is not None and bool(p.grad.any()) for p in encoder) > len(encoder) / 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_thirty_updates_on_one_batch_lower_the_loss(name: str) -> None:
    task, batch = build(name)
    optimizer = build_optimizer(task, TrainConfig(lr=3e-3, weight_decay=0.0))
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        loss = task(batch)["loss"]
        loss.backward()
        optimizer.step()
        task.after_step((step + 1) / 30)
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_checkpoint_brings_back_the_output(name: str, tmp_path: Path) -> None:
    task, batch = build(name)
    optimizer = build_optimizer(task, TrainConfig())
    task(batch)["loss"].backward()
    optimizer.step()
    task.after_step(0.5)
    wanted = task(batch)
    checkpoint.save(tmp_path, 1, task, optimizer, {}, main=True, keep=1)
    saved = state(task)
    draw = torch.Generator().manual_seed(1)
    tensors = [*task.parameters(), *task.buffers()]
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.data.add_(torch.randn(tensor.shape, generator=draw, dtype=tensor.dtype))
    assert (task(batch)["loss"] - wanted["loss"]).abs() > 1e-6
    for tensor in tensors:
        if not tensor.is_floating_point():  # pointers, places in tables, flags: nothing could run with these
            tensor.logical_not_()
    assert moved(task, saved) == {name for name, value in saved.items() if value.numel()}
    checkpoint.load(checkpoint.checkpoints(tmp_path)[0], task, optimizer)
    assert moved(task, saved) == set()
    found = task(batch)
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


def state(task: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def moved(task: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Names of the state that is not as it was."""
    return {name for name, value in task.state_dict().items() if not torch.equal(value, before[name])}


def step_of(task: Task, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss and all its gradients end to end, in the order of the weights."""
    task.zero_grad()
    loss = task(batch)["loss"]
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", EXAMPLES)
def test_mixed_precision_takes_nearly_the_same_step(name: str) -> None:
    task, batch = build(name)
    task, batch = task.float(), {key: v.float() if v.is_floating_point() else v for key, v in batch.items()}
    loss, gradient = step_of(task, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough_loss, rough = step_of(task, batch)
    assert rough_loss.dtype == torch.float32
    assert abs(rough_loss - loss) < 0.02 * abs(loss)
    # Of one batch of tiny pictures through batch norms; a wrong direction, or a number that is none, is far beyond.
    assert (rough - gradient).norm() < 0.5 * gradient.norm()
    torch.manual_seed(1)  # the broken twin: a step from other weights
    assert (step_of(EXAMPLES[name][1]()[0].float().train(), batch)[1] - gradient).norm() > 0.5 * gradient.norm()


def loose_tensors(task: nn.Module) -> list[str]:
    """Tensors that no checkpoint finds: attributes, or in lists and dicts, of modules that are not of transformers."""
    found = []
    for path, module in task.named_modules():
        if type(module).__module__.startswith(("transformers.", "torch.")):
            continue
        for name, value in vars(module).items():
            inside = list(value.values()) if isinstance(value, dict) else value
            inside = inside if isinstance(inside, (list, tuple)) else [inside]
            if name not in ("_parameters", "_buffers") and any(isinstance(item, Tensor) for item in inside):
                found.append(f"{path}.{name}".lstrip("."))
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_all_state_is_in_parameters_and_buffers(name: str) -> None:
    task, batch = build(name)
    task(batch)["loss"].backward()
    task.after_step(0.5)
    assert loose_tensors(task) == []
    task.loose_queue = torch.zeros(3)
    task.loose_memory = [torch.zeros(3)]
    assert loose_tensors(task) == ["loose_queue", "loose_memory"]


def updates_in_forward(task: JointTask) -> JointTask:
    """The broken twin: whatever calls it, every micro-batch or an evaluation, moves what is remembered."""
    honest = task.forward

    def forward(batch: Batch) -> dict[str, Tensor]:
        out = honest(batch)
        task.after_step(0.5)
        return out

    task.forward = forward  # type: ignore[method-assign]
    return task


@pytest.mark.parametrize("name", JOINT)
def test_an_update_alone_moves_what_is_remembered(name: str) -> None:
    def by_passes(task: JointTask) -> tuple[set[str], set[str], bool]:
        """What a pass in evaluation moves, what one in training does, and whether the first left something behind."""
        with torch.no_grad():
            for weight in task.encoder.parameters():
                weight.add_(0.01)  # which a teacher would follow
            before = state(task)
            task.eval()(batch)
            evaluated, left = moved(task, before), bool(loose_tensors(task))
            task.train()(batch)
        statistics = {name for name in before if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}
        return evaluated, moved(task, before) - statistics, left

    task, batch = build(name)
    assert by_passes(task) == (set(), set(), False)
    if loose_tensors(task):  # which the pass in training left for the update
        assert by_passes(updates_in_forward(build(name)[0]))[1] != set()


def apart(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys() and left
    return max(float((left[key] - right[key]).detach().abs().max()) for key in left)


@pytest.mark.parametrize("name", COUPLED)
def test_a_coupled_task_is_its_two_halves(name: str) -> None:
    task, batch = build(name)
    parts = task.embed(batch)
    assert isinstance(parts, tuple) and all(len(part) == ROWS for part in parts)
    assert apart(task(batch), task.loss_from(*parts)) == 0
    swapped = (parts[0].roll(1, 0), *parts[1:])  # the broken twin: rows that do not belong together
    assert apart({"loss": task(batch)["loss"]}, {"loss": task.loss_from(*swapped)["loss"]}) > 1e-6


def numbers(task: nn.Module, model: Callable[[Batch], dict[str, Tensor]], batch: Batch) -> dict[str, Tensor]:
    """Loss and every gradient; that of a weight which the loss does not reach is zero."""
    task.zero_grad()
    loss = model(batch)["loss"]
    if loss.requires_grad:  # a twin may have cut all of it off
        loss.backward()
    reached = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in task.named_parameters()}
    return {"loss": loss.detach()} | reached


def every_task_on_two() -> dict[str, dict[str, Tensor]]:
    """All examples on this rank's half of the rows, right and wrong."""
    rank, world = dist.get_rank(), dist.get_world_size()
    assert world == 2
    found = {}
    for name in EXAMPLES:
        task, batch = build(name)
        share = {key: value[rank * ROWS // 2 : (rank + 1) * ROWS // 2] for key, value in batch.items()}
        found[name] = mean_loss(numbers(task, DistributedDataParallel(task, broadcast_buffers=False), share))
        found[f"{name}, not reduced"] = mean_loss(numbers(task, task, share))
        if task.coupled:
            module = sys.modules[type(task).__module__]
            with pytest.MonkeyPatch.context() as patch:
                for collective in {"gather", "all_reduce"} & vars(module).keys():
                    honest = getattr(module, collective)
                    patch.setattr(module, collective, lambda tensor, honest=honest: honest(tensor.detach()))
                task, _ = build(name)
                alone = mean_loss(numbers(task, DistributedDataParallel(task, broadcast_buffers=False), share))
            found[f"{name}, gathered without gradient"] = alone
    return found


def mean_loss(found: dict[str, Tensor]) -> dict[str, Tensor]:
    dist.all_reduce(found["loss"])
    return found | {"loss": found["loss"] / dist.get_world_size()}


def test_two_processes_equal_one() -> None:
    ranks = run_in_world(every_task_on_two, processes=2, timeout=400.0)
    for name in EXAMPLES:
        task, batch = build(name)
        alone = numbers(task, task, batch)
        for found in ranks:
            assert apart(alone, found[name]) < 1e-12, name
            assert apart(alone, found[f"{name}, not reduced"]) > 1e-4, name
            if task.coupled:
                lost = apart(alone, found[f"{name}, gathered without gradient"])
                # A centre or an assignment that is a target carries no gradient: there is none to lose.
                assert lost < 1e-12 if name in WITHOUT_GRADIENT_ACROSS else lost > 1e-4, name
