"""What a joint-embedding run's table and pictures say besides its features."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel, ViTModel

from evaluation.charts import shift_curves
from evaluation.metric_panels import metric_panels
from evaluation.plots import loss_curve
from evaluation.report import Column
from evaluation.sheets import panel_sheet
from modalities.pictures.rows import ImageSet, Rows
from modalities.vision.joint.task import JointTask
from recipes import vision_measure
from recipes.joint_tasks import Config
from recipes.place_pictures import draw_places
from recipes.vision_labels import Curves
from recipes.vision_measure import Labelled
from recipes.vision_pictures import credit_of, draw_features, drawn, illustration

COLUMNS = [
    Column("held_out_loss", "its own loss", percent=False),
    *vision_measure.COLUMNS,
    Column("few", "classifier from the few labels"),
]
_EXAMPLES = 8
WORDS = {"knn": "kNN accuracy, few images", "embedding_std": "embedding std (1: evenly spread)"}


def draw_pictures(
    config: Config,
    task: JointTask,
    start: PreTrainedModel,
    data: ImageSet,
    known: Labelled | None,
    curves: Curves,
    shifts: Mapping[str, Mapping[str, Sequence[float]]],
    asked: tuple[Any, Rows, str],
) -> dict[str, str]:
    """Views, neighbours, where features come from, what a ViT looks at, what shifts cost, loss and health:
    {file: caption}.

    start: the encoder before this run; asked: see `joint_build.asked`.
    """
    out, credit, (collate, rows, words) = config.train.out, credit_of(data), asked
    panel_sheet(illustration(task, rows, collate), out / "views.png", credit=credit)
    pictures = {"views.png": f"What the method is given, of {words}"}
    pictures |= draw_features(config, task.export(), start, data, known, curves)
    if isinstance(start, ViTModel):  # the last map of a ResNet has four places
        some = data.test.select(drawn(len(data.test), _EXAMPLES))
        pictures |= draw_places(out, task.export(), start, some, 2 * config.model.image_size, credit)
    if shifts:
        shift_curves(shifts, out / "shifts.png", credit=credit)
        pictures["shifts.png"] = "Accuracy of probes fitted on clean images, on held-out images that are shifted"
    metrics = out / "metrics.jsonl"
    loss_curve(metrics, out / "loss.png", asked=words)
    metric_panels(metrics, out / "health.png", words=WORDS)
    pictures["loss.png"] = f"Loss in training and on {words}"
    pictures["health.png"] = "What the run logged: its loss, a cheap kNN accuracy, and signs of health"
    return pictures
