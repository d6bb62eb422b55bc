"""The model card of an audio run."""

import inspect
import re
import sys

from huggingface_hub import EvalResult
from transformers import PreTrainedModel

from modalities.audio.backbones import masks_padding
from modalities.audio.rows import AudioSet
from modalities.audio.task import AudioTask
from recipes.audio_table import COLUMNS
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

UNPADDED = "Padding changes what it hears (its group norm takes a mean over time): give it recordings one by one."


def name_of(task: AudioTask) -> str:
    """The method in words: CPC, wav2vec 2.0."""
    found = {"Wav2Vec2": "wav2vec 2.0", "Hubert": "HuBERT", "MultiFormat": "multi-format contrast"}
    name = type(task).__name__
    return found.get(name) or " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]+", name))


def paper_of(task: AudioTask) -> str:
    """The paper as the method's file names it."""
    return (inspect.getdoc(sys.modules[type(task).__module__]) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")


def stock_class(model: PreTrainedModel) -> str:
    """The class of transformers that loads it: AutoModel where it ships its own file."""
    return type(model).__name__ if type(model).__module__.startswith("transformers.") else "AutoModel"


def write_card(
    run: Run,
    task: AudioTask,
    data: AudioSet,
    results: str,
    scores: dict[str, float],
    pictures: dict[str, str],
) -> None:
    """README.md of the output folder."""
    model, name = task.export(), name_of(task)
    loader = stock_class(model)
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    of = "synthetic speech" if data.synthetic else "recordings"
    count = f"{data.counts['train']:,} {of}" if "train" in data.counts else f"a stream of {of}"
    if data.synthetic and "hours" in data.counts:
        count = f"{data.counts['hours']:g} hours of synthetic speech (training and held-out)"
    takes = "pixel_values=inputs.input_values[:, None]" if model.main_input_name == "pixel_values" else "**inputs"
    trust = ", trust_remote_code=True" if loader == "AutoModel" else ""
    load = (
        f"from transformers import AutoFeatureExtractor, {loader}\n\n"
        f'model = {loader}.from_pretrained("model"{trust})    # or the name of the repository\n'
        'extractor = AutoFeatureExtractor.from_pretrained("model")\n'
        f'inputs = extractor(samples, sampling_rate={task.rate}, return_tensors="pt")    # mono, in about [-1, 1]\n'
        f"outputs = model({takes}, output_hidden_states=True)"
    )
    limits = "Only what stands in the table was measured."
    if data.synthetic:
        limits += (
            " All of its voices are a synthesiser's (eSpeak NG): what it is worth on recorded speech is not known, and "
            "numbers here cannot be compared with those of recorded speech."
        )
    if not masks_padding(model.config):
        limits += f" {UNPADDED}"
    named = {column.key: column.heading for column in COLUMNS}
    card = model_card(
        title=f"{name[0].upper()}{name[1:]} on {data.name}",
        summary=(
            f"A {type(model).__name__} ({size:.1f} M parameters) trained without labels on {count} by {paper_of(task)}."
        ),
        licence=data.licence,
        pipeline_tag="feature-extraction",
        tags=["audio", *(["speech", "synthetic-voices"] if data.synthetic else []), name.replace(" ", "-")],
        load=load,
        data=[DataSource(data.name, data.licence, data.credit)],
        results=results,
        limits=limits,
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="feature-extraction",
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type="accuracy",
                metric_value=round(scores[key], 4),
                metric_name=named[key],
            )
            for key in ("phone", "voice", "speaker", "class", "language")
            if key in scores
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
