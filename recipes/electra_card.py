"""What an ELECTRA run leaves for people: held-out text with the generator's tokens and the discriminator's verdict, and
the card."""

from pathlib import Path

from evaluation.marked_text import Marked, marked_sheet
from evaluation.plots import loss_curve
from modalities.text.electra import Electra
from modalities.text.masking import MaskConfig
from modalities.text.packing import Packed
from modalities.text.rows import TextSet
from recipes.electra_measure import rounds
from recipes.run import Run
from recipes.text_card import write_card
from recipes.text_measure import Probes

_TEXTS = 5


def verdicts(task: Electra, held_out: Packed, masks: MaskConfig, count: int = _TEXTS) -> list[Marked]:
    """The first document of each of `count` rows of held-out text, evenly spaced, as the discriminator reads it."""
    found = []
    for batch, out in rounds(task, held_out, masks):
        first = batch["segments"] == 1 if "segments" in batch else batch["attention_mask"] > 0
        truth = batch["input_ids"].where(batch["labels"] < 0, batch["labels"])
        for row in range(len(first)):
            here = first[row]
            now, before = (
                task.tokenizer.convert_ids_to_tokens(ids[row, here].tolist()) for ids in (out["fake"], truth)
            )
            changed = out["replaced"][row, here].tolist()
            found.append(
                Marked(
                    now,
                    out["scores"][row, here].float().sigmoid().tolist(),
                    [token if change else "" for token, change in zip(before, changed, strict=True)],
                )
            )
    longest = [text for text in found if len(text.tokens) >= 20] or found
    return longest[:: max(1, len(longest) // count)][:count]


def draw_pictures(out: Path, task: Electra, held_out: Packed, masks: MaskConfig, data: TextSet) -> dict[str, str]:
    """Verdicts on held-out text, and the loss: {file: caption}."""
    credit = f"Text: {data.credit}" if data.credit else ""
    loss_curve(out / "metrics.jsonl", out / "loss.png", asked="held-out text")
    marked_sheet(verdicts(task, held_out, masks), out / "replaced.png", credit=credit)
    return {
        "replaced.png": "Held-out text as the discriminator reads it: the redder a token, the more it is held for "
        "replaced; a frame marks the generator's, with the truth above",
        "loss.png": f"Loss (the generator's plus {task.cfg.weight:g} times the discriminator's), and held-out text",
    }


def write_electra_card(
    run: Run,
    task: Electra,
    data: TextSet,
    probes: Probes,
    results: str,
    scores: dict[str, float],
    pictures: dict[str, str],
) -> None:
    """README.md of the output folder."""
    write_card(
        run,
        task.export(),
        data,
        probes,
        method="ELECTRA",
        paper="Clark et al. 2020, [2003.10555](https://arxiv.org/abs/2003.10555)",
        load=(
            "from transformers import AutoTokenizer, ElectraForMaskedLM, ElectraForPreTraining\n\n"
            'model = ElectraForPreTraining.from_pretrained("model")    # or the name of the repository\n'
            'tokenizer = AutoTokenizer.from_pretrained("model")\n'
            "# logits above 0: the token does not belong here. Features: AutoModel, averaged over the tokens\n"
            'generator = ElectraForMaskedLM.from_pretrained("model", subfolder="generator")'
        ),
        results=results,
        scores=scores,
        pictures=pictures,
        pipeline_tag="feature-extraction",
        tags=["electra", "replaced-token-detection"],
    )
