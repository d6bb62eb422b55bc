"""What a pretext run's table and pictures say of its own question."""

from transformers import PreTrainedModel

from evaluation.plots import loss_curve
from evaluation.report import Column, Row
from evaluation.sheets import panel_sheet
from modalities.pictures.rows import ImageSet
from modalities.vision.task import VisionTask
from recipes import vision_measure
from recipes.pretext_tasks import Config, asked_of, build_collate, described, guessing
from recipes.vision_labels import Curves
from recipes.vision_measure import Labelled
from recipes.vision_pictures import credit_of, draw_features, illustration

COLUMNS = [
    Column("held_out_accuracy", "pretext accuracy"),
    Column("held_out_loss", "pretext loss", percent=False),
    *vision_measure.COLUMNS,
]


def shown(columns: list[Column], rows: list[Row]) -> list[Column]:
    """The columns, without the pretext loss where there is an accuracy to show."""
    asked = any("held_out_accuracy" in row.metrics for row in rows)
    return [column for column in columns if not (asked and column.key == "held_out_loss")]


def draw_pictures(
    config: Config, task: VisionTask, start: PreTrainedModel, data: ImageSet, known: Labelled | None, curves: Curves
) -> dict[str, str]:
    """What the task does, what its features find alike, where they look, and the loss: {file: caption}.

    start: the encoder before this run.
    """
    out, asked = config.train.out, described(config)
    panels = illustration(task, asked_of(config, data), build_collate(config, data))
    panel_sheet(panels, out / "pretext.png", credit=credit_of(data))
    pictures = {"pretext.png": f"What the task is, on {asked}"}
    pictures |= draw_features(config, task.export(), start, data, known, curves)
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=guessing(config, data), asked=asked)
    return pictures | {"loss.png": f"Loss, and the pretext task on {asked} while training"}
