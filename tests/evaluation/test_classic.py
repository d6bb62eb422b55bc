"""Classic features against loops, and the joined spaces against what they must and must not use."""

import numpy as np
import pytest

from evaluation import classic
from evaluation.classic import TextFeatures, colour_histograms, image_features, oriented_gradients
from evaluation.joined_spaces import JoinedSpaces
from evaluation.retrieval import retrieve_both


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, size=(3, 26, 31, 3), dtype=np.uint8)


def looped_colours(image):
    height, width, _ = image.shape
    found = []
    for grid in (1, 3):
        counts = np.zeros((grid, grid, 4, 4, 4))
        for i in range(height):
            for j in range(width):
                red, green, blue = (int(value) // 64 for value in image[i, j])
                counts[i * grid // height, j * grid // width, red, green, blue] += 1
        found.append(np.sqrt(counts / (height * width)).ravel())
    return np.concatenate(found)


def looped_gradients(image, cells=6, bins=9):
    height, width, _ = image.shape
    value = np.sqrt(image / 255)
    counts = np.zeros((cells, cells, bins))
    for i in range(height):
        for j in range(width):
            down = value[i + 1, j] - value[i - 1, j] if 0 < i < height - 1 else np.zeros(3)
            right = value[i, j + 1] - value[i, j - 1] if 0 < j < width - 1 else np.zeros(3)
            channel = np.argmax(down**2 + right**2)
            angle = np.degrees(np.arctan2(down[channel], right[channel])) % 180 / 180 * bins
            low, share = int(angle) % bins, angle - int(angle)
            strength = np.hypot(down[channel], right[channel])
            place = i * cells // height, j * cells // width
            counts[place][low] += strength * (1 - share)
            counts[place][(low + 1) % bins] += strength * share
    blocks = []
    for i in range(cells - 1):
        for j in range(cells - 1):
            block = np.concatenate([counts[i + a, j + b] for a in (0, 1) for b in (0, 1)]) / (height * width)
            block = np.minimum(block / (np.linalg.norm(block) + 1e-5), 0.2)
            blocks.append(block / (np.linalg.norm(block) + 1e-5))
    return np.concatenate(blocks)


def test_image_features_equal_the_loops(images):
    np.testing.assert_allclose(colour_histograms(images), [looped_colours(i) for i in images], atol=1e-6)
    np.testing.assert_allclose(oriented_gradients(images), [looped_gradients(i) for i in images], atol=1e-5)
    mirrored = [looped_gradients(image[:, ::-1]) for image in images]  # the broken twin
    assert np.abs(oriented_gradients(images) - mirrored).max() > 0.1


def test_image_features_have_one_length_and_do_not_depend_on_the_chunk(images, monkeypatch):
    whole = image_features(images)
    assert whole.dtype == np.float32
    assert whole.shape == (3, 640 + 900)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), np.sqrt(2), atol=1e-5)
    monkeypatch.setattr(classic, "CHUNK", 2)
    np.testing.assert_array_equal(image_features(images), whole)
    assert np.isfinite(image_features(np.full((1, 12, 12, 3), 255, dtype=np.uint8))).all()


def test_image_features_refuse_other_images(images):
    with pytest.raises(ValueError, match="float64"):
        image_features(images / 255)
    with pytest.raises(ValueError, match="12 px"):
        image_features(images[:, :11])


def test_text_features_learn_from_train_alone_and_share_pieces():
    texts = ["red flag", "blue flag", "red car", "blue car", "grinning face", "angry face"]
    encode = TextFeatures(width=5).fit(texts)
    car, cars, flag, unknown = encode(["red car", "red cars", "blue flag", "☃"])
    assert car @ cars > 5 * abs(car @ flag)
    assert not unknown.any()
    np.testing.assert_array_equal(encode(["red car"])[0], car)
    other = TextFeatures(width=5).fit([*texts, "snow man"])
    assert encode(["snow"]).any() != other(["snow"]).any()
    with pytest.raises(ValueError, match="1 training texts"):
        TextFeatures().fit(["alone"])


def paired(n, seed, noise=0.5):
    """Images and texts that share 6 hidden causes, each under stronger nuisances of its own."""
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    cause = rng.normal(size=(n, 6))
    sides = []
    for width in (30, 20):
        nuisance = rng.normal(size=(n, 10)) @ world.normal(size=(10, width)) * 3
        sides.append(cause @ world.normal(size=(6, width)) + nuisance + noise * rng.normal(size=(n, width)))
    return sides


def test_joined_spaces_find_the_pairs_of_held_out_rows():
    (image, text), (new_image, new_text) = paired(400, 0), paired(50, 1)
    joined = JoinedSpaces().fit(image, text)
    ids = np.arange(50)
    found = retrieve_both(joined.image(new_image), joined.text(new_text), ids, ids)
    assert min(found["image_to_text_r1"], found["text_to_image_r1"]) > 0.5
    mismatched = JoinedSpaces().fit(image, np.roll(text, 1, axis=0))  # the broken twin
    found = retrieve_both(mismatched.image(new_image), mismatched.text(new_text), ids, ids)
    assert found["text_to_image_r1"] < 0.2


def test_joined_spaces_are_the_correlations_of_cca():
    """Without penalty the joint axes of train are uncorrelated and correlate with their partners only."""
    image, text = paired(400, 0)
    joined = JoinedSpaces().fit(image, text)
    joined._learn(image, text)
    joined._project((1e-12, 1e-12))
    left, right = joined.image(image), joined.text(text)
    together = np.corrcoef(left.T, right.T)
    k = left.shape[1]
    np.testing.assert_allclose(together[:k, :k], np.eye(k), atol=1e-6)
    across = together[:k, k:]
    np.testing.assert_allclose(across, np.diag(np.diag(across)), atol=1e-6)
    assert (np.diff(np.diag(across)) <= 1e-9).all()


def test_captions_of_one_image_stay_on_one_side_of_the_split(monkeypatch):
    image, text = paired(60, 0)
    ids = np.repeat(np.arange(20), 3)
    sides = []
    learn = JoinedSpaces._learn

    def spy(self, images, texts):
        sides.append({int(i) for i in range(60) if (images == image[i]).all(axis=1).any()})
        learn(self, images, texts)

    monkeypatch.setattr(JoinedSpaces, "_learn", spy)
    JoinedSpaces().fit(image, text, ids)
    assert len(sides) == 2 and sides[1] == set(range(60))
    fitted = {i // 3 for i in sides[0]}
    assert len(fitted) == 16 and len(sides[0]) == 48  # whole images only
    JoinedSpaces().fit(image, text)  # the broken twin: rows split without ids
    assert len({i // 3 for i in sides[2]}) > 16


def test_joined_spaces_refuse_what_is_no_pair():
    with pytest.raises(ValueError, match="12 images, 11 texts"):
        JoinedSpaces().fit(np.ones((12, 2)), np.ones((11, 2)))
    with pytest.raises(ValueError, match="3 images are too few"):
        JoinedSpaces().fit(np.ones((12, 2)), np.ones((12, 2)), ids=np.repeat([0, 1, 2], 4))
