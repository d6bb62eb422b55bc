"""One world of two processes for the tests of joint embeddings: it takes longer to start than to do all they want."""

from functools import cache
from importlib import import_module
from typing import Any

import torch

from tests.world import run_in_world

MODULES = [
    "test_assignment_processes",
    "test_clusters_processes",
    "test_contrast_parity",
    "test_dino",
    "test_moco_on_two",
    "test_no_negatives",
    "test_views_world",
]


def found_on_two(module: str) -> list[Any]:
    """What `on_two()` of a module of tests returned, by rank. module: its `__name__`."""
    return [found[module] for found in _world()]


@cache
def _world() -> list[dict[str, Any]]:
    return run_in_world(_everything, processes=2, timeout=400.0)


def _everything() -> dict[str, Any]:
    torch.set_num_threads(1)
    names = [f"{__package__}.{module}" for module in MODULES]
    return {name: import_module(name).on_two() for name in names}
