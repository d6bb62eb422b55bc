"""The model card reads back as the Hub would read it, and tells nobody any secret."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard

from trainers.hub.card import DataSource, model_card
from trainers.hub.scrub import hide_secrets, scrub, scrub_command

from .conftest import CANARY

SCORE = EvalResult("zero-shot-retrieval", "openmoji", "OpenMoji, held out", "recall_at_1", 0.45)


def card(**changes: Any) -> str:
    fields: dict[str, Any] = {
        "title": "Emoji CLIP",
        "summary": "CLIP (arXiv 2103.00020), 1.7 M parameters.",
        "licence": "cc-by-sa-4.0",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip"],
        "load": 'model = CLIPModel.from_pretrained("user/clip")',
        "data": [
            DataSource("OpenMoji", "CC BY-SA 4.0", "the OpenMoji project"),
            DataSource("Flickr30k", "custom", "Young et al. 2014", hub_id="nlphuji/flickr30k"),
        ],
        "results": "| method | R@1 |\n|---|---|\n| CLIP | 0.45 |",
        "limits": "Emoji only.",
        "pictures": {"plots/loss.png": "Loss"},
        "scores": [SCORE],
        "command": ["recipes/clip.py", "--train.lr", "3e-4"],
    }
    return model_card(**fields | changes)


def test_front_matter_reads_back() -> None:
    data = ModelCard(card()).data
    assert data.license == "cc-by-sa-4.0" and data.library_name == "transformers"
    assert data.pipeline_tag == "zero-shot-image-classification"
    assert data.tags == ["self-supervised", "clip"]
    assert data.datasets == ["nlphuji/flickr30k"]
    assert data.metrics == ["recall_at_1"]
    assert data.model_name == "Emoji CLIP" and data.eval_results == [SCORE]


def test_front_matter_without_scores_or_hub_data() -> None:
    data = ModelCard(card(scores=[], data=[], pipeline_tag=None)).data.to_dict()
    tags = ["self-supervised", "clip"]
    assert data == {"license": "cc-by-sa-4.0", "library_name": "transformers", "tags": tags}


def test_body_holds_what_was_given() -> None:
    text = ModelCard(card()).text
    for part in (
        "# Emoji CLIP",
        '```python\nmodel = CLIPModel.from_pretrained("user/clip")\n```',
        "| CLIP | 0.45 |",
        "![Loss](plots/loss.png)",
        "- OpenMoji (CC BY-SA 4.0): the OpenMoji project",
        "recipes/clip.py --train.lr 3e-4",
        "torch 2.",
        "Emoji only.",
    ):
        assert part in text


@pytest.mark.parametrize("path", ["/abs/loss.png", "../loss.png", "a/../../x.png", "my loss.png"])
def test_pictures_outside_the_run_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="must be a path inside the run's folder"):
        card(pictures={path: "Loss"})


def test_no_secret_reaches_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    command = ["recipes/clip.py", f"--token={CANARY}", "--note", "0123456789abcdef"]
    text = card(command=command, summary=f"made with {CANARY}", results="key 0123456789abcdef")
    assert CANARY not in text and "0123456789abcdef" not in text
    assert text.count("<hidden>") == 4


def test_hide_secrets_hides_secrets_only(tmp_path: Path) -> None:
    environment = {
        "DB_PASSWORD": "correct horse",
        "TOKENIZERS_PARALLELISM": "false",
        "SSH_KEY_FILE": str(tmp_path),
        "LANG": "en_GB.UTF-8",
    }
    plain = f"false en_GB.UTF-8 {tmp_path} hf_hub_download"
    assert hide_secrets(plain, environment) == plain
    assert hide_secrets("x correct horse y", environment) == "x <hidden> y"
    assert hide_secrets("https://me:pw@host/a", {}) == "https://<hidden>@host/a"
    assert hide_secrets("hf_" + "a1" * 17, {}) == "<hidden>"


def test_paths_of_this_machine_are_shortened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    out = str(tmp_path / "runs/x")
    command = ["recipes/x.py", "--out", out, "--data=/srv/secret/photos", "--hub", "a/b", "--lr=0.1"]
    assert scrub_command(command, {}) == [
        "recipes/x.py", "--out", "runs/x", "--data=.../photos", "--hub", "a/b", "--lr=0.1",
    ]  # fmt: skip
    assert scrub_command(["--api-key", "abc", "--api-key=abc", "--keep", "3"], {}) == [
        "--api-key", "<hidden>", "--api-key=<hidden>", "--keep", "3",
    ]  # fmt: skip
    assert scrub("in /home/ada/runs, /home/adam/runs and /home/ada", {}) == "in ~/runs, /home/adam/runs and ~"
