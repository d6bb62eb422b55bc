"""HuBERT: frames and labels aligned to the sample, the loss against a slow one, teachers, and what is published."""

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoFeatureExtractor, AutoModel, HubertForCTC, HubertModel

from modalities.audio.collate import WindowCollate
from modalities.audio.features import mfcc
from modalities.audio.frame_encoder import conv_features, normalised
from modalities.audio.hubert import Hubert, HubertConfig
from modalities.audio.rows import Rows, Sound
from modalities.draws import as_signed, mix
from tests.audio.examples_hubert import TINY, hubert, save_teacher
from tests.audio.examples_wav2vec2 import recordings, shape
from trainers import checkpoint
from trainers.config import TrainConfig
from trainers.loop import fit


def built(make=hubert):
    torch.manual_seed(0)
    task, batch = make()
    return task.double(), batch


@pytest.mark.parametrize("samples", [*range(399, 402), *range(718, 722), 1039, 1040, 5999, 16_000, 20_481])
def test_there_is_one_label_for_each_frame_of_the_encoder(samples):
    task, _ = built()
    audio, lengths = torch.randn(2, samples, dtype=torch.float64), torch.tensor([samples, samples])
    frames = HubertModel._get_feat_extract_output_lengths(task.encoder, lengths) if samples >= 400 else 1
    assert task.labels(audio, lengths).shape[1] == int(torch.as_tensor(frames).max())
    assert task.layers(audio, lengths)["conv"].shape[1] == task.labels(audio, lengths).shape[1]
    assert (task.frames(lengths) == frames).all()


def heard(function, samples=4000, frame=5):
    """The first and last of the samples that a frame depends on."""
    audio = torch.randn(1, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    function(audio)[0, frame].square().sum().backward()
    places = audio.grad[0].nonzero()[:, 0]
    return int(places[0]), int(places[-1])


def test_label_and_frame_are_of_the_same_samples():
    task, _ = built()
    task.eval()
    lengths = torch.tensor([4000])
    # Hann windows begin with a weight of 0, and the bare cepstra are asked, for slopes look to both sides.
    spectral = heard(lambda audio: mfcc(audio, 16_000, 13, 0.010, centred=False)[:, ::2])
    seen = heard(lambda audio: task.encoder.feature_extractor(audio).transpose(1, 2))
    assert seen == (5 * 320, 5 * 320 + 399) and spectral == (5 * 320 + 1, 5 * 320 + 399)
    centred = heard(lambda audio: mfcc(audio, 16_000, 13, 0.020))  # the broken twin: frames around whole hops
    assert centred != spectral
    audio = torch.randn(1, 4000, dtype=torch.float64)
    wanted = mfcc(normalised(audio, lengths), 16_000, 13, 0.010, centred=False)[:, ::2]
    assert torch.equal(task.labels.described(audio, lengths)[:, :, :13], wanted)


def test_a_window_moved_by_whole_frames_moves_its_labels():
    task, _ = built()
    audio = torch.randn(1, 8000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved, off = audio[:, 640:], audio[:, 800:]

    def raw(x):
        """Slopes and cepstra, less the frames whose slopes look beyond the window."""
        cepstra = task.labels.described(x * 1e3 / x.std(), torch.tensor([x.shape[1]]))
        return cepstra[0, :, :13]

    assert (raw(audio)[2:] - raw(moved)).abs().max() < 0.05  # normalised over a little more or less
    assert (raw(audio)[2:][: len(raw(off))] - raw(off)).abs().max() > 0.5


def slow_loss(task, batch, hidden):
    """Row after row, frame after frame, through the stock model; `hidden` (n, f) bool."""
    model, total, count = task.encoder, 0.0, 0
    labels = task.labels(batch["audio"], batch["lengths"])
    mask = torch.zeros_like(batch["audio"], dtype=torch.long)
    for row, length in enumerate(batch["lengths"].tolist()):
        mask[row, :length] = 1
    audio = normalised(batch["audio"], batch["lengths"])
    states = model(audio, attention_mask=mask, mask_time_indices=hidden).last_hidden_state
    for row in range(len(states)):
        for frame in hidden[row].nonzero()[:, 0].tolist():
            guess = task.head(states[row, frame])
            cosines = torch.stack([F.cosine_similarity(guess, code, dim=0) for code in task.codes])
            total = total - F.log_softmax(cosines / 0.1, dim=0)[labels[row, frame]]
            count += 1
    return total / count


def test_the_loss_is_that_of_the_paper_through_the_stock_model():
    task, batch = built()
    hidden, real = task.mask(batch, task.layers(batch["audio"], batch["lengths"])["conv"].shape[1])
    found = task(batch)
    assert found["count"] == hidden.sum() > 0 and not (hidden & ~real).any()
    assert (found["loss"] - slow_loss(task, batch, hidden)).abs() < 1e-12
    assert (found["loss"] - slow_loss(task, batch, hidden.roll(1, 1))).abs() > 1e-4  # the broken twin: other frames


def test_frames_that_are_not_hidden_count_by_their_weight_and_padding_never():
    task, batch = built()
    weighted, _ = built(lambda: hubert(unmasked_weight=0.5))
    everything, _ = built(lambda: hubert(unmasked_weight=1.0))
    for other in (weighted, everything):
        other.load_state_dict(task.state_dict())
    length = int(task.frames(batch["lengths"]).max())
    hidden, real = task.mask(batch, length)
    first, second, third = (each(batch) for each in (task, weighted, everything))
    assert third["count"] == real.sum() and second["count"] == hidden.sum() + 0.5 * (real & ~hidden).sum()
    total = [each["loss"] * each["count"] for each in (first, second, third)]
    assert (total[1] - (total[0] + total[2]) / 2).abs() < 1e-9 * total[1]
    longer = {**batch, "audio": F.pad(batch["audio"], (0, 3200))}
    assert (everything(longer)["loss"] - third["loss"]).abs() < 1e-12
    batch["lengths"] = torch.full_like(batch["lengths"], 6000)  # the broken twin: padding taken for audio
    assert (everything(batch)["loss"] - third["loss"]).abs() > 1e-4


def test_masks_come_from_the_seeds_alone():
    task, batch = built()
    other = {**batch, "audio": batch["audio"].flip(1)}
    length = int(task.frames(batch["lengths"]).max())
    assert torch.equal(task.mask(batch, length)[0], task.mask(other, length)[0])
    assert torch.equal(task(batch)["loss"], task(batch)["loss"])
    again = {**batch, "seeds": as_signed(mix(np.arange(900, 908, dtype=np.uint64)))}
    assert not torch.equal(task.mask(batch, length)[0], task.mask(again, length)[0])


@pytest.mark.parametrize("penalty", [0.0, 10.0])
def test_the_gradient_of_the_convolutions_is_scaled(penalty):
    def gradient(scale):
        task, batch = built(lambda: hubert(feature_gradient=scale, feature_penalty=penalty))
        task(batch)["loss"].backward()
        return task.encoder.feature_extractor.conv_layers[0].conv.weight.grad, task.head.weight.grad

    (whole, head), (tenth, same) = gradient(1.0), gradient(0.1)
    assert (tenth - 0.1 * whole).abs().max() < 1e-12 * whole.abs().max()
    assert (head - same).abs().max() < 1e-12


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_penalty_is_a_mean_over_what_counts(weight):
    losses = []
    for penalty in (0.0, 3.0):
        task, batch = built(lambda penalty=penalty: hubert(feature_penalty=penalty, unmasked_weight=weight))
        losses.append(task(batch)["loss"])
    squares = conv_features(task.encoder, normalised(batch["audio"], batch["lengths"])).square().mean(2)
    hidden, real = task.mask(batch, squares.shape[1])
    seen = real & ~hidden
    mean = (squares[hidden].sum() + weight * squares[seen].sum()) / (hidden.sum() + weight * seen.sum())
    assert (losses[1] - losses[0] - 3 * mean).abs() < 1e-12
    if weight:
        less = squares[hidden].sum() / (hidden.sum() + weight * seen.sum())  # the broken twin: hidden frames alone
        assert (losses[1] - losses[0] - 3 * less).abs() > 1e-6


def test_labels_need_clusters():
    task = Hubert(shape("layer"), HubertConfig(**TINY))
    with pytest.raises(AssertionError, match="call find_clusters"):
        task(recordings())
    assert not task.labels.clusters.found and built()[0].labels.clusters.found


@pytest.mark.parametrize("teacher", [False, True])
def test_labels_are_the_same_under_autocast(teacher, tmp_path):
    options = {"teacher": save_teacher(str(tmp_path))} if teacher else {}
    task, batch = built(lambda: hubert(**options))
    task, audio = task.float().eval(), batch["audio"].float()
    wanted = task.labels.described(audio, batch["lengths"])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(task.labels.described(audio, batch["lengths"]), wanted)
        if teacher:  # the broken twin
            assert not torch.equal(task.labels._described(audio, batch["lengths"]), wanted)


def test_a_teacher_labels_what_is_not_hidden_and_never_learns(tmp_path):
    folder = save_teacher(str(tmp_path))
    task, batch = built(lambda: hubert(teacher=folder, teacher_layer=1))
    task.train()
    whole = HubertModel.from_pretrained(folder, dtype=torch.float64).eval()
    mask = (torch.arange(6000) < batch["lengths"][:, None]).long()
    states = whole(
        normalised(batch["audio"], batch["lengths"]), attention_mask=mask, output_hidden_states=True
    ).hidden_states
    found = task.labels.described(batch["audio"], batch["lengths"])
    real = torch.arange(found.shape[1]) < task.frames(batch["lengths"])[:, None]
    assert (found - states[1])[real].abs().max() < 1e-12  # its first layer, though it has two
    assert (found - states[2])[real].abs().max() > 1e-3
    assert not task.labels.teacher.training and len(task.labels.teacher.encoder.layers) == 1
    task(batch)["loss"].backward()
    assert all(weight.grad is None and not weight.requires_grad for weight in task.labels.teacher.parameters())


def test_teachers_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"task\.teacher_layer is 3, but .* has 2 layers"):
        hubert(teacher=save_teacher(str(tmp_path)), teacher_layer=3)
    with pytest.raises(ValueError, match=r"task\.teacher .* cannot be loaded"):
        hubert(teacher="no/such/folder")


@pytest.mark.parametrize(
    ("option", "value"),
    [("clusters", 1), ("span", 0), ("start", 0.0), ("temperature", 0.0), ("unmasked_weight", -1.0)],
)
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(ValueError, match=f"task.{option} is"):
        HubertConfig(**{option: value})


def test_padding_is_not_clustered():
    task, batch = built()
    frames = sum(len(chunk) for chunk in task.labels._real_frames([batch]))
    assert frames == int(task.frames(batch["lengths"]).sum())
    loud = {**batch, "audio": batch["audio"].clone()}
    task.find_clusters([batch], seed=0)
    again = task.labels.clusters.centres.clone()
    for row, length in enumerate(batch["lengths"].tolist()):
        loud["audio"][row, length:] = 0.5
    task.find_clusters([loud], seed=0)
    assert (task.labels.clusters.centres - again).abs().max() < 1e-9
    loud["lengths"] = torch.full_like(batch["lengths"], 6000)  # the broken twin
    task.find_clusters([loud], seed=0)
    assert (task.labels.clusters.centres - again).abs().max() > 1e-2


def test_stock_classes_load_what_is_saved(tmp_path):
    torch.manual_seed(0)
    task, batch = hubert()
    task.eval().save(tmp_path)
    extractor, model = AutoFeatureExtractor.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    assert type(model) is HubertModel
    rows = [a[:length].float().numpy() for a, length in zip(batch["audio"], batch["lengths"], strict=True)]
    inputs = extractor(rows, sampling_rate=16_000, padding=True, return_tensors="pt")
    wanted = task.layers(batch["audio"].float(), batch["lengths"])["layer 1"]
    real = torch.arange(wanted.shape[1]) < task.frames(batch["lengths"])[:, None]
    assert (model(**inputs).last_hidden_state - wanted)[real].abs().max() < 1e-5
    _, info = HubertForCTC.from_pretrained(tmp_path, vocab_size=30, output_loading_info=True)
    assert set(info["missing_keys"]) == {"lm_head.weight", "lm_head.bias"}


def test_a_resumed_run_keeps_its_clusters_and_equals_the_uninterrupted_one(tmp_path):
    draw = np.random.default_rng(0)
    count = 16
    sounds = [Sound((3000 * draw.normal(size=4000)).astype(np.int16), 16_000) for _ in range(count)]
    rows = Rows(sounds, np.arange(count), [[]] * count, [None] * count, [None] * count, [None] * count)
    collate = WindowCollate(3200, 16_000)

    def run(seed):
        torch.manual_seed(0)
        task, _ = hubert(clusters=8)
        task.find_clusters([collate([*rows])], seed)
        cfg = TrainConfig(out=tmp_path, batch_size=8, steps=4, save_every=2, tracker="none")
        return {name: value.clone() for name, value in fit(task, rows, collate, cfg).state_dict().items()}

    whole = run(seed=0)
    shutil.rmtree(checkpoint.checkpoints(tmp_path / "checkpoints")[0])
    resumed = run(seed=1)  # clusters found anew are not those of the checkpoint, which count
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    for left in checkpoint.checkpoints(tmp_path / "checkpoints"):
        shutil.rmtree(left)
    other = run(seed=1)  # the broken twin: trained on those found anew
    assert not torch.equal(other["labels.clusters.centres"], whole["labels.clusters.centres"])
    assert not torch.equal(other["codes"], whole["codes"])
