"""What a run on words leaves for people: a map, neighbours, the loss, and a model card."""

import math
from pathlib import Path

from huggingface_hub import EvalResult

from evaluation.plots import loss_curve
from evaluation.word_map import word_map
from evaluation.word_vectors import NamedVectors, nearest
from modalities.text.glove import GloVe
from modalities.text.rows import TextSet
from modalities.text.word2vec import Word2Vec
from modalities.text.word_task import WordTask
from recipes.run import Run
from recipes.word_vectors_measure import EvalConfig
from trainers.hub.card import DataSource, model_card

_NEAREST, _TOO_COMMON = 8, 100
_PHRASES = (
    " The tokenizer does not join words to phrases, so the model never gives the vector of one (new_york): look it up "
    "in vectors.bin."
)


def draw_pictures(out: Path, task: WordTask, cfg: EvalConfig, credit: str) -> dict[str, str]:
    """A map of frequent words and the loss: {file: caption}."""
    words, first = task.vocabulary.words, _TOO_COMMON if len(task.vocabulary) > 2 * _TOO_COMMON else 0
    some = slice(first, first + cfg.mapped)
    word_map(task.vectors()[some], words[some], out / "words.png", credit=f"Text: {credit}" if credit else "")
    loss_curve(out / "metrics.jsonl", out / "loss.png", chance=guessing(task), asked="word tests")
    return {
        "words.png": f"Frequent words (ranks {first + 1} to {first + len(words[some])}), near to those of like vectors",
        "loss.png": "Loss, and the word tests while training",
    }


def guessing(task: WordTask) -> float | None:
    """The loss before anything is learnt: a coin for the word and each negative."""
    if isinstance(task, Word2Vec) and not task.cfg.hierarchical:
        return (1 + task.cfg.negatives) * math.log(2)
    return None


def neighbours(task: WordTask, shown: str) -> str:
    """Words and those nearest to them, as a table in Markdown; empty when none is known."""
    vectors = NamedVectors.of(task.vectors(), task.vocabulary.words)
    asked = [word.strip() for word in shown.split(",")]
    lines = [
        f"| {word} | {', '.join(other for other, _ in nearest(vectors, word, _NEAREST))} |"
        for word in asked
        if word and vectors.find(word) is not None
    ]
    return "\n".join(["| word | nearest by cosine |", "|---|---|", *lines]) if lines else ""


def described(task: WordTask) -> tuple[str, str]:
    """The method in words, and its paper."""
    if isinstance(task, GloVe):
        return "GloVe", "Pennington, Socher and Manning 2014"
    assert isinstance(task, Word2Vec)
    name = "CBOW" if task.cfg.cbow else "Skip-gram"
    how = "hierarchical softmax" if task.cfg.hierarchical else "negative sampling"
    return f"{name} with {how}", "word2vec, [1310.4546](https://arxiv.org/abs/1310.4546)"


def write_card(
    run: Run, task: WordTask, data: TextSet, results: str, scores: dict[str, float], pictures: dict[str, str]
) -> None:
    """README.md of the output folder."""
    name, paper = described(task)
    c, d = task.vectors().shape
    near = neighbours(task, getattr(run.config, "eval").shown)  # noqa: B009
    card = model_card(
        title=f"{name} on {data.name}",
        summary=f"Vectors of {c:,} words in {d} dimensions, trained on {data.counts['train']:,} documents ({paper}).",
        licence=data.licence,
        pipeline_tag="feature-extraction",
        tags=["text", "word-vectors", "glove" if isinstance(task, GloVe) else "word2vec"],
        load=(
            "from transformers import AutoModel, AutoTokenizer\n\n"
            "# word_vectors.py, which lies in the folder, is all the code there is to trust.\n"
            'model = AutoModel.from_pretrained("model", trust_remote_code=True)    # or the name of the repository\n'
            'tokenizer = AutoTokenizer.from_pretrained("model")\n'
            'vectors = model(**tokenizer("a king", return_tensors="pt")).last_hidden_state    # (1, words, width)\n\n'
            "from gensim.models import KeyedVectors\n\n"
            'KeyedVectors.load_word2vec_format("model/vectors.bin", binary=True).most_similar("king")'
        ),
        data=[DataSource(data.name, data.licence, data.credit)],
        results=f"{results}\n\n{near}".strip(),
        limits=(
            "One vector per spelling, whatever it means where it stands, learnt from little text of few kinds. Only "
            "what stands in the table was measured; biases of the data were not, and word vectors are known to carry "
            "them." + (_PHRASES if getattr(run.config, "words").phrase_passes else "")  # noqa: B009
        ),
        pictures=pictures,
        scores=[
            EvalResult(
                task_type="feature-extraction",
                dataset_type=kind,
                dataset_name=words,
                metric_type="spearman",
                metric_value=round(scores[key], 4),
                metric_name=f"{words} Spearman",
            )
            for key, kind, words in (("wordsim", "wordsim353", "WordSim-353"), ("simlex", "simlex999", "SimLex-999"))
            if key in scores
        ],
        command=run.command,
    )
    (run.out / "README.md").write_text(card)
