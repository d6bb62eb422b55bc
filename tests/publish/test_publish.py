"""Publishing to a Hub that works, refuses, stalls or drops the line (fault list: fake Hub, canary token)."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainers import publish as publishing
from trainers.hub import reload
from trainers.hub.check import PROJECT, CheckResult
from trainers.hub.isolated import run_isolated
from trainers.publish import check_repo_id, files_to_upload, publish

from .conftest import CANARY, CLASSES
from .fake_hub import FakeHub, Fault


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the reload for granted: it has tests of its own and costs seconds."""
    monkeypatch.setattr(publishing, "verify", lambda folder, classes: CheckResult(0.0, ("logits_per_image",)))


def damage(weights: Path) -> None:
    tensors = load_file(weights)
    tensors["visual_projection.weight"][0, 0] += 0.1
    save_file(tensors, weights, metadata={"format": "pt"})


def load_from_the_hub(run: Path) -> dict[str, Any]:
    """As a stranger would: `from_pretrained("user/tiny")`, with nothing of the run at hand but its check."""
    check = str(run / "check.safetensors")
    question = {
        "model": "user/tiny",
        "check": check,
        "classes": CLASSES,
        "method": "forward",
        "refuse": PROJECT,
    }
    return run_isolated(Path(reload.__file__), question, seconds=120)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_published_files_come_back_equal(run: Path, hub: FakeHub, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainers.publish", str(run), "user/tiny", "--private"]
    root = Path(publishing.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "published: " in done.stdout and "/user/tiny" in done.stdout
    assert hub.commits == ["user/tiny"]  # one commit
    assert hub.private["user/tiny"]
    uploaded = hub.repositories["user/tiny"]
    assert uploaded == {
        **contents(run / "model"),
        "README.md": (run / "README.md").read_bytes(),
        "plots/loss.png": (run / "plots/loss.png").read_bytes(),
    }
    assert "check.safetensors" not in uploaded
    leaks = [done.stdout, done.stderr, *(blob.decode("latin-1") for blob in uploaded.values())]
    assert not any(CANARY in text for text in leaks)

    answer = load_from_the_hub(run)
    assert answer["missing"] == answer["unexpected"] == []
    outputs = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")
    assert answer["outputs"].keys() == set(outputs)
    assert all(answer["outputs"][name]["difference"] <= 1e-5 for name in outputs)
    assert any(r.startswith("GET") and r.endswith("/model.safetensors") for r in hub.requests)


@pytest.mark.slow
def test_weights_damaged_on_the_hub_give_other_outputs(run: Path, hub: FakeHub, verified: None) -> None:
    assert publish(run, "user/tiny").published
    damage(run / "model/model.safetensors")
    hub.repositories["user/tiny"]["model.safetensors"] = (run / "model/model.safetensors").read_bytes()
    assert load_from_the_hub(run)["outputs"]["logits_per_image"]["difference"] > 1e-5


REFUSALS = {
    "unauthorised": (Fault("repos/create|api/models/user/tiny$", 401), "does not accept the token (401)"),
    "forbidden": (Fault("repos/create|api/models/user/tiny$", 403), "may not write to user/tiny (403)"),
    "away": (Fault("repos/create", 503), "the Hub is away (503)"),
    "busy": (Fault("repos/create", 429), "takes no more requests for now (429)"),
    "dropped at the commit": (Fault("commit/main"), "the upload did not finish (httpx"),
    "invalid card": (Fault("validate-yaml", 400), "the Hub finds a file invalid"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_a_sentence_and_loses_nothing(
    name: str, run: Path, hub: FakeHub, verified: None, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fault, sentence = REFUSALS[name]
    hub.fault = replace(fault)
    before = contents(run)
    result = publish(run, "user/tiny")
    printed = "".join(capfd.readouterr())
    assert not result.published and result.url is None
    assert result.reason is not None and sentence in result.reason and "\n" not in result.reason
    assert f"not published: {result.reason}" in printed
    assert f"python -m trainers.publish {run} user/tiny" in printed
    assert "Traceback" not in printed
    assert contents(run) == before
    assert hub.repositories.get("user/tiny", {}) == {}  # all or nothing
    everything = printed + repr(result) + "".join(b.decode("latin-1") for b in contents(tmp_path).values())
    assert CANARY not in everything


def test_a_hub_that_says_nothing_is_left_in_time(run: Path, hub: FakeHub, verified: None) -> None:
    hub.fault = Fault("repos/create", stall=60.0)
    assert "no answer within 3 s" in str(publish(run, "user/tiny", seconds=3).reason)


def test_a_hub_that_asks_to_wait_an_hour_is_left_in_time(run: Path, hub: FakeHub, verified: None) -> None:
    hub.fault = Fault("preupload", 429, headers=(("Retry-After", "3600"),))
    assert "no answer within 3 s" in str(publish(run, "user/tiny", seconds=3).reason)


def test_one_lost_upload_is_made_up_for(run: Path, hub: FakeHub, verified: None) -> None:
    hub.fault = Fault("^/upload/", times=1)  # the line drops halfway through one file, once
    assert publish(run, "user/tiny").published
    weights = (run / "model/model.safetensors").read_bytes()
    assert hub.repositories["user/tiny"]["model.safetensors"] == weights
    assert sum(request.startswith("PUT /upload/") for request in hub.requests) == 3  # two files, one twice


@pytest.mark.slow
def test_uploads_that_always_drop_end_by_themselves(run: Path, hub: FakeHub, verified: None) -> None:
    hub.fault = Fault("^/upload/")
    assert "Error while uploading" in str(publish(run, "user/tiny").reason)
    assert hub.repositories["user/tiny"] == {}


def test_publishing_again_after_a_refusal_works(run: Path, hub: FakeHub, verified: None) -> None:
    hub.fault = Fault("repos/create", 503, times=1)
    assert not publish(run, "user/tiny").published
    assert publish(run, "user/tiny").published
    assert publish(run, "user/tiny").published  # a repository that exists is no error


def test_without_token_or_network(run: Path, hub: FakeHub, verified: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token" in str(publish(run, "user/tiny").reason)
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "offline mode is on" in str(publish(run, "user/tiny").reason)
    assert hub.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    assert "the upload did not finish (httpx2.ConnectError" in str(publish(run, "user/tiny").reason)


def test_a_changed_weight_refuses_the_upload(
    run: Path, hub: FakeHub, here: None, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(run / "model/model.safetensors")
    assert publishing.main([str(run), "user/tiny"]) == 1
    assert "reloaded with CLIPModel gives another " in capfd.readouterr().err
    assert hub.requests == []


def test_repository_ids() -> None:
    check_repo_id("user/tiny-clip_1.0")
    refused = {"tiny": "write it as user/tiny", "a/b/c": "a/b/c", "user/a b": "not valid", "u/x--y": "--"}
    for wrong, why in refused.items():
        with pytest.raises(ValueError, match=why) as caught:
            check_repo_id(wrong)
        assert "\n" not in str(caught.value)


def test_files_that_must_not_go_up(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"README.md", "model.safetensors", "plots/loss.png"} <= files_to_upload(run).keys()
    torch.save({}, run / "model/optimizer.pt")
    with pytest.raises(ValueError, match=r"optimizer\.pt may be a pickle"):
        files_to_upload(run)
    (run / "model/optimizer.pt").unlink()
    torch.save({}, run / "model/vectors.bin")
    with pytest.raises(ValueError, match=r"vectors\.bin may be a pickle"):
        files_to_upload(run)
    for end in (b"", b"\x80\x04."):  # word2vec's format, and the same with something after it
        (run / "model/vectors.bin").write_bytes(b"2 1\na \0\0 \n\nb 1234\n" + end)
        if end:
            with pytest.raises(ValueError, match=r"vectors\.bin may be a pickle"):
                files_to_upload(run)
        else:
            assert "vectors.bin" in files_to_upload(run)
    (run / "model/vectors.bin").unlink()
    (run / "model/notes.txt").write_text(f"token {CANARY}")
    with pytest.raises(ValueError, match=r"notes\.txt holds a token") as caught:
        files_to_upload(run)
    assert CANARY not in str(caught.value)
    (run / "model/notes.txt").unlink()
    card = run / "README.md"
    text = card.read_text()
    for picture in ("plots/none.png", "../outside.png"):
        (run.parent / "outside.png").write_bytes(b"x")
        card.write_text(f"{text}\n![x]({picture})\n")
        with pytest.raises(ValueError, match="which is not a file in"):
            files_to_upload(run)
    card.unlink()
    with pytest.raises(ValueError, match=r"README\.md is missing"):
        files_to_upload(run)
