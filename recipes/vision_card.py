"""The model card of a run that trained an encoder of pictures."""

import inspect
import re
import sys

from huggingface_hub import EvalResult

from modalities.pictures.rows import ImageSet
from modalities.vision.task import VisionTask
from recipes.run import Run
from trainers.hub.card import DataSource, model_card


def name_of(task: VisionTask) -> str:
    """The method in words: MAE, split brain."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", type(task).__name__)
    return " ".join(part if part.isupper() else part.lower() for part in parts)


def paper_of(task: VisionTask) -> str:
    """The paper as the method's file names it."""
    return (inspect.getdoc(sys.modules[type(task).__module__]) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")


def write_card(
    run: Run,
    task: VisionTask,
    data: ImageSet,
    results: str,
    scores: dict[str, float],
    pictures: dict[str, str],
    kind: str,
    labels: str = "without labels",
) -> None:
    """README.md of the output folder. kind: of method, a tag on the Hub; labels: what the method had of them."""
    model, name = task.export(), name_of(task)
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    count = f"{data.counts['train']:,} images" if "train" in data.counts else "a stream of images"
    load = (
        "from transformers import AutoImageProcessor, AutoModel\n\n"
        'model = AutoModel.from_pretrained("model")    # or the name of the repository\n'
        'processor = AutoImageProcessor.from_pretrained("model")\n'
        'places = model(**processor(image, return_tensors="pt")).last_hidden_state    # average over places'
    )
    if (run.out / "model" / "pretraining").is_dir():
        load += (
            f"\n\n# pretraining/ beside it holds the whole {type(task.encoder).__name__}, with the decoder, to go on "
            "training from."
        )
    card = model_card(
        title=f"{name[0].upper()}{name[1:]} on {data.name}",
        summary=(
            f"A {type(model).__name__} ({size:.1f} M parameters) trained {labels} on {count} by {paper_of(task)}."
        ),
        licence=data.licence,
        pipeline_tag="image-feature-extraction",
        tags=["vision", kind, name.replace(" ", "-")],
        load=load,
        data=[DataSource(data.name, data.licence, data.credit)],
        results=results,
        limits=(
            "A small encoder for small images, trained on few of them. Only what stands in the table was measured; "
            "biases of the data were not."
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="image-feature-extraction",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type="accuracy",
                metric_value=round(scores[key], 4),
                metric_name=words,
            )
            for key, words in (("knn", "kNN accuracy"), ("probe", "linear probe accuracy"))
            if key in scores
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
