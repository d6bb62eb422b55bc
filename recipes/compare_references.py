"""What the methods of the comparison stand beside: their own start, classic features, and training on all labels."""

from dataclasses import replace
from typing import Any

from accelerate.utils import set_seed

from evaluation.classic import image_features
from modalities.pictures.batches import thumbnails
from modalities.pictures.rows import ImageSet
from recipes.compare_cells import Budget, Cell, Scores, from_few, kept, score
from recipes.joint_build import build_task, with_new_weights
from recipes.joint_config import JointEvalConfig
from recipes.joint_tasks import PRESETS
from recipes.run import Run
from recipes.vision_config import identity
from recipes.vision_labels import fingerprint, learn_labels
from recipes.vision_measure import Labelled, classify
from trainers.folder import digest

_SIDE = 64  # of pictures for classic features


def start_of(cell: Cell, data: ImageSet, known: Labelled, run: Run, seeds: int, few: float) -> tuple[Scores, str]:
    """Measures of what the method would publish with new weights, over seeds, and a key that equal starts share; of a
    method that cannot be built neither."""
    try:
        set_seed(1000)
        key = fingerprint(with_new_weights(cell.options, data).export())
    except ValueError:
        return Scores(), ""

    def find() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for seed in range(seeds):
            set_seed(1000 + seed)
            encoder = with_new_weights(cell.options, data).export().to(run.accelerator.device).eval()
            for name, value in score(encoder, known, cell.options, few).items():
                found.setdefault(name, []).append(value)
        return found

    made_by = [key, seeds, few, data.fingerprint, len(known.train)]
    return Scores(seeds=kept(run, run.out / "starts" / f"{digest(made_by)[:8]}.json", find)), key


def hog(known: Labelled, few: float) -> dict[str, Any]:
    """The same of histograms of colours and gradients."""
    train, test = (image_features(thumbnails(rows, _SIDE)) for rows in (known.train, known.test))
    return classify(train, test, known) | {"few": from_few(train, test, known, few)}


def supervised(budget: Budget, data: ImageSet, known: Labelled, run: Run, only_kept: bool = False) -> dict[str, float]:
    """{"tuned": accuracy of a ResNet that is trained on all labels}; every process takes part.

    only_kept: train nothing; nothing is found unless it was trained before.
    """
    first = next(iter(PRESETS.values()))
    train = replace(first.train, out=run.out, precision=budget.train.precision, tracker="none")
    measured = JointEvalConfig(supervised_epochs=budget.supervised_epochs)
    options = replace(first, data=budget.data, train=train, eval=measured)
    key = digest([identity(options, data), train.identity(), budget.supervised_epochs, known.train.ids.tolist()])[:8]
    file = run.out / "supervised" / f"scores-{key}.json"
    if only_kept and not file.is_file():
        return {}

    def find() -> dict[str, float]:
        set_seed(train.seed)
        encoder = build_task(options, data).export().to(run.accelerator.device)
        return {"tuned": learn_labels(encoder, "supervised", known, data, options, run.accelerator).scores["tuned"]}

    found: dict[str, float] = kept(run, file, find, everyone=True)
    return found
