"""What a fine-tuned model leaves for people: its card."""

from huggingface_hub import EvalResult
from transformers import PreTrainedModel

from evaluation.report import Row
from recipes.finetune_text_measure import COLUMNS, Question
from recipes.run import Run
from trainers.hub.card import DataSource, model_card

_LOAD = """
from transformers import pipeline

ask = pipeline("{pipeline}", model="model")    # or the name of the repository
print(ask({example}))
"""


def write_finetune_card(
    run: Run, model: PreTrainedModel, question: Question, results: str, ours: Row, start: str
) -> None:
    """README.md of the output folder. start: the checkpoint that training began from, or nothing."""
    data, tokens = question.data, question.kind == "tokens"
    pipeline = "token-classification" if tokens else "text-classification"
    pair = not tokens and len(question.test.texts[0]) == 2
    example = (
        '{"text": "a text", "text_pair": "another"}' if pair else '"a text in lower case"' if tokens else '"a text"'
    )
    size = sum(weight.numel() for weight in model.parameters()) / 1e6
    titles = {column.key: column.title for column in COLUMNS}
    card = model_card(
        title=f"{question.kind.capitalize()} of {data.name}",
        summary=(
            f"A {type(model).__name__} ({size:.1f} M parameters) fine-tuned on {len(question.train):,} rows, starting "
            f"from {start or 'new weights'}: Devlin et al. 2018, [1810.04805](https://arxiv.org/abs/1810.04805), "
            "section 4."
        ),
        licence=data.licence,
        pipeline_tag=pipeline,
        tags=["text", "fine-tuned"],
        load=_LOAD.format(pipeline=pipeline, example=example),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=results,
        limits=(
            "It answers one question, about texts like those it learnt from. Only what stands in the table was "
            "measured; biases of the data were not."
        ),
        pictures={"loss.png": "Loss while training"},
        scores=[
            EvalResult(
                task_type=pipeline,
                dataset_type=data.name,
                dataset_name=data.name,
                metric_type=key,
                metric_value=round(value, 4),
                metric_name=titles[key],
            )
            for key, value in ours.metrics.items()
            if key in titles and isinstance(value, float)
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
