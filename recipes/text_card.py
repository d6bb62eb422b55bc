"""What a run on text leaves for people: a model card."""

from collections.abc import Mapping, Sequence

from huggingface_hub import EvalResult
from transformers import PreTrainedModel

from modalities.text.rows import Rows, TextSet
from recipes.run import Run
from recipes.text_measure import Probes, without
from trainers.hub.card import DataSource, model_card

_SCORES = {"topic": "topic, linear probe", "capitals": "capitals, F1", "held_out_accuracy": "hidden tokens"}


def write_card(
    run: Run,
    model: PreTrainedModel,
    data: TextSet,
    probes: Probes | None,
    *,
    method: str,
    paper: str,
    load: str,
    results: str,
    scores: Mapping[str, float],
    pictures: Mapping[str, str],
    pipeline_tag: str,
    tags: Sequence[str],
    more: str = "",
) -> None:
    """README.md of the output folder.

    method: what it is called; paper: citation and link of it; load: code that loads the model; results: the table and
    what it means; more: further sections in Markdown, after the table.
    """
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    barred = probes.topics.held_out if probes is not None and probes.topics is not None else frozenset()
    count = "a stream of documents"
    if isinstance(data.train, Rows):
        count = f"{sum(map(len, without(data.train, barred).texts)):,} documents"
    sources = [DataSource(data.name, data.licence, data.credit)]
    if probes is not None and probes.topics is not None and probes.topics.source != data.name:
        sources.append(DataSource(f"{probes.topics.source} (probed)", probes.topics.licence, probes.topics.credit))
    card = model_card(
        title=f"{method} on {data.name}",
        summary=f"A {type(model).__name__} ({size:.1f} M parameters) trained without labels on {count}: {paper}.",
        licence=data.licence,
        pipeline_tag=pipeline_tag,
        tags=["text", *tags],
        load=load,
        data=sources,
        results=f"{results}\n\n{more}".strip(),
        limits=(
            f"{size:.1f} M parameters, trained on {count} of {data.name}: what holds there may not hold for other "
            "texts. Only what stands in the table was measured; biases of the data were not."
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type=pipeline_tag,
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type="f1" if key == "capitals" else "accuracy",
                metric_value=round(scores[key], 4),
                metric_name=name,
            )
            for key, name in _SCORES.items()
            if key in scores
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
