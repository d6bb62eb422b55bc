"""The model card: README.md of a run's output folder and of its repository on the Hub.

The front matter is written by `huggingface_hub.ModelCardData` (format: https://huggingface.co/docs/hub/model-cards),
so that the Hub reads licence, tags, data sets and scores from it.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from trainers.hub.scrub import scrub, scrub_command

PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "huggingface_hub")


@dataclass(frozen=True)
class DataSource:
    """One source of training or evaluation data, credited in the card."""

    name: str
    """What people call it."""
    licence: str
    """Its licence, in words or as an SPDX id."""
    credit: str
    """Who made it, and where it is found."""
    hub_id: str | None = None
    """Its id on the Hub, if it has one: the card then links to it."""


def model_card(
    *,
    title: str,
    summary: str,
    licence: str,
    pipeline_tag: str | None,
    tags: Sequence[str],
    load: str,
    data: Sequence[DataSource],
    results: str,
    limits: str,
    pictures: Mapping[str, str] | None = None,
    scores: Sequence[EvalResult] = (),
    command: Sequence[str] | None = None,
    library: str = "transformers",
) -> str:
    """Markdown of the card, front matter included.

    Args:
        title: Heading, and the model's name in the front matter.
        summary: What the model is: method, paper and arXiv id, size, input.
        licence: Licence id of the weights as the Hub spells it, such as `apache-2.0` or `cc-by-sa-4.0`.
        pipeline_tag: The Hub's task name, such as `feature-extraction`; None for none.
        tags: Further search words.
        load: Python code that loads the model with stock classes.
        data: Where the data came from.
        results: Table in Markdown.
        limits: What the model should not be used for, and what was not measured.
        pictures: Relative path of each picture in the run's folder, and its caption.
        scores: The same results for the Hub's own table (`model-index`).
        command: The command line that made the model; None takes this process's own.
        library: The library that `load` uses, as the Hub spells it: `transformers`, `sentence-transformers`.

    Raises:
        ValueError: A picture's path is absolute or leaves the run's folder.
    """
    pictures = pictures or {}
    for path in pictures:
        if path.startswith("/") or ".." in path.split("/") or any(c in path for c in "\\ ()"):
            raise ValueError(
                f"picture {path!r} of the model card must be a path inside the run's folder, relative to it, "
                "without spaces, brackets or backslashes"
            )
    front_matter = ModelCardData(
        license=licence,
        library_name=library,
        pipeline_tag=pipeline_tag,
        tags=["self-supervised", *tags],
        datasets=[source.hub_id for source in data if source.hub_id] or None,
        metrics=list(dict.fromkeys(score.metric_type for score in scores)) or None,
        model_name=title if scores else None,  # only the table of scores has a place for it
        eval_results=list(scores) or None,
    )
    command = shlex.join(scrub_command(sys.argv if command is None else command))
    sections = [
        f"# {title}\n\n{summary}",
        f"## Load\n\n```python\n{load.strip()}\n```",
        f"## Results\n\n{results.strip()}",
        *(f"![{caption}]({path})" for path, caption in pictures.items()),
        "## Data\n\n" + "\n".join(_credit(source) for source in data),
        f"## Limits\n\n{limits}",
        f"## How it was made\n\n```\n{command}\n```\n\n{_versions()}",
    ]
    return scrub(str(ModelCard(f"---\n{front_matter.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")))


def _credit(source: DataSource) -> str:
    link = f"[{source.name}](https://huggingface.co/datasets/{source.hub_id})"
    return f"- {link if source.hub_id else source.name} ({source.licence}): {source.credit}"


def _versions() -> str:
    lines = [f"Python {python_version()}"]
    for package in PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(lines)
