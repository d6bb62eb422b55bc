"""Finds data that installed packages carry, by path: none of them is imported."""

import importlib.util
from pathlib import Path


def package_folder(name: str, data: str, remedy: str = "pip install -e '.[demo]'") -> Path:
    """Where the package `name` is installed. Raises ValueError, in one sentence, where it is not."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"The {data} data needs the package {name}: {remedy}.")
    return Path(spec.submodule_search_locations[0])
