"""Whitening and flow: known values, inverses, determinants, and what strangers load."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from modalities.text.flow import Flow, FlowConfig, vectors_collate
from modalities.text.normalizing_flow import NormalizingFlow
from modalities.text.sentence_encoder import save_sentence_transformer
from modalities.text.whitening import add_whitening, fit_whitening
from tests.text.examples_neighbours import LENGTH, SENTENCES, encoder, flow, tokenizer
from trainers.hub.check import verify, write_check

DRAW = np.random.default_rng(0)
VECTORS = (DRAW.normal(size=(500, 6)) @ DRAW.normal(size=(6, 6)) + 3).astype(np.float32)


def test_whitened_vectors_have_mean_zero_and_covariance_one() -> None:
    found = fit_whitening(VECTORS)
    white = found(VECTORS).astype(np.float64)
    assert abs(white.mean(0)).max() < 1e-5
    assert abs(np.cov(white, rowvar=False, bias=True) - np.eye(6)).max() < 1e-5
    assert abs(np.cov(VECTORS, rowvar=False, bias=True) - np.eye(6)).max() > 0.1  # and had not before


def test_fewer_dimensions_are_those_of_most_variance() -> None:
    scales = np.array([5.0, 0.1, 3.0, 0.2])
    vectors = (DRAW.normal(size=(2000, 4)) * scales).astype(np.float32)
    found = fit_whitening(vectors, 2)
    assert found.weight.shape == (4, 2)
    assert (abs(found.weight[[0, 2]]).max(0) > 10 * abs(found.weight[[1, 3]]).max(0)).all()


def test_directions_without_variance_are_left_out() -> None:
    flat = np.concatenate([VECTORS, VECTORS[:, :2]], 1)  # 8 columns that vary in 6 directions
    found = fit_whitening(flat)
    assert found.weight.shape == (8, 6) and abs(found(flat)).max() < 10
    with pytest.raises(ValueError, match="vary in 6 directions"):
        fit_whitening(flat, 7)
    for rows in (1, 50):
        with pytest.raises(ValueError, match=f"The {rows} training vectors are all the same"):
            fit_whitening(np.full((rows, 4), 0.1, dtype=np.float32))
    assert fit_whitening(VECTORS * 1e-4 + 1).weight.shape[1] > 0  # little is not nothing


def test_the_folder_holds_the_map(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    torch.manual_seed(0)
    model = encoder().eval()
    save_sentence_transformer(tmp_path, model, tokenizer(), LENGTH)
    plain = SentenceTransformer(str(tmp_path), device="cpu").encode(SENTENCES)  # (11, 16)
    whitening = fit_whitening(plain, 4)
    add_whitening(tmp_path, whitening)
    loaded = SentenceTransformer(str(tmp_path), device="cpu").encode(SENTENCES)
    assert loaded.shape == (11, 4) and abs(loaded - whitening(plain)).max() < 1e-5
    other = fit_whitening(plain + DRAW.normal(size=plain.shape).astype(np.float32), 4)
    assert abs(loaded - other(plain)).max() > 1e-2  # broken: another map
    weights = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def trained() -> NormalizingFlow:
    """A flow whose couplings do something, in fp64."""
    torch.manual_seed(1)
    model = Flow(VECTORS, FlowConfig(blocks=3, hidden=8)).encoder.double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def test_the_inverse_is_the_inverse() -> None:
    model, x = trained(), torch.from_numpy(VECTORS[:20]).double()
    z = model(x)["vectors"]
    assert (model.inverse(z) - x).abs().max() < 1e-12
    with torch.no_grad():
        model.blocks[1].shift.add_(0.1)  # broken: another flow
    assert (model.inverse(z) - x).abs().max() > 1e-3


def test_the_determinant_is_that_of_the_jacobian() -> None:
    model, x = trained(), torch.from_numpy(VECTORS[:5]).double()
    said = model(x)["log_determinant"]
    for row, claimed in zip(x, said, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: model(v[None])["vectors"][0], row)
        assert abs(torch.linalg.slogdet(jacobian)[1] - claimed) < 1e-12
    assert said.std() > 1e-3  # the couplings make it differ from row to row


def test_autocast_changes_nothing() -> None:
    model, x = trained().float(), torch.from_numpy(VECTORS[:20])
    wanted = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x)
        again = model.inverse(found["vectors"])
        broken = model.blocks[0](x)[0]  # a block alone, as autocast has it
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert torch.equal(again, model.inverse(wanted["vectors"]))
    assert (broken - model.blocks[0](x)[0]).abs().max() > 1e-4
    assert model.inverse(found["vectors"].bfloat16()).dtype == torch.float32


def test_the_flow_starts_from_the_spread_of_the_vectors() -> None:
    task = Flow(VECTORS, FlowConfig(blocks=2, hidden=8)).double()
    vectors = torch.from_numpy(VECTORS).double()
    loss = task({"vectors": vectors})["loss"]
    spread = vectors.std(0).log().mean() + 0.5 * math.log(2 * math.pi) + 0.5 * 499 / 500
    assert abs(loss - spread) < 1e-6  # the likelihood of independent Gaussians
    task({"vectors": vectors})["loss"].backward()


def test_a_fitted_flow_beats_independent_gaussians() -> None:
    torch.manual_seed(0)
    task, batch = Flow(VECTORS, FlowConfig(blocks=4, hidden=16)), vectors_collate(list(VECTORS))
    before = task(batch)["loss"].item()
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        task(batch)["loss"].backward()
        optimizer.step()
    assert task(batch)["loss"].item() < before - 0.1


@pytest.mark.slow
def test_strangers_load_the_flow(tmp_path: Path) -> None:
    task, batch = flow()
    task.save(tmp_path / "model")
    inputs = {"vectors": batch["vectors"].float()}
    write_check(tmp_path, task.encoder, inputs, {"model": "AutoModel"})
    assert set(verify(tmp_path).outputs) == {"vectors", "log_determinant"}


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match=r"flow\.blocks 0"):
        FlowConfig(blocks=0)
