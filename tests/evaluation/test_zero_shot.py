"""Zero-shot: the order of averaging, and ties between classes."""

import numpy as np
import pytest

from evaluation.zero_shot import class_vectors, zero_shot

VECTORS = {
    "a photo of cat": [10.0, 0.0, 0.0],
    "a drawing of cat": [0.0, 1.0, 0.0],
    "a photo of dog": [0.0, 0.0, 3.0],
    "a drawing of dog": [0.0, 4.0, 3.0],
    "a photo of hound": [0.0, 0.0, 1.0],
    "a drawing of hound": [0.0, 0.0, 7.0],
}
TEMPLATES = ["a photo of {}", "a drawing of {}"]


def encode(prompts):
    return np.array([VECTORS[prompt] for prompt in prompts], dtype=np.float32)


def test_prompts_are_normalised_before_they_are_averaged():
    found = class_vectors(encode, ["cat", ["dog", "hound"]], TEMPLATES)
    cat = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    dog = np.array([0.0, 0.8, 1 + 0.6 + 1 + 1])
    np.testing.assert_allclose(found, [cat, dog / np.linalg.norm(dog)], atol=1e-6)

    averaged_first = encode([template.replace("{}", "cat") for template in TEMPLATES]).mean(axis=0)
    averaged_first /= np.linalg.norm(averaged_first)
    assert np.abs(averaged_first - found[0]).max() > 0.25  # the broken twin


def test_the_nearest_class_wins_and_classes_weigh_alike():
    classes = np.eye(3)
    image = np.array([[2, 1, 0], [9, 0, 1], [1, 0, 0], [0, 1, 3.0]])
    found = zero_shot(image, classes, [0, 0, 1, 2])
    assert found == pytest.approx({"accuracy": 3 / 4, "balanced_accuracy": 2 / 3}, abs=1e-12)


def test_equal_classes_share_the_credit():
    image = np.random.default_rng(0).normal(size=(20, 3))
    found = zero_shot(image, np.ones((4, 3)), np.zeros(20, dtype=int))
    assert found["accuracy"] == pytest.approx(0.25, abs=1e-12)
    flattered = (np.argmax(image @ np.ones((3, 4)), axis=1) == 0).mean()  # the broken twin
    assert flattered > 0.5


def test_errors_are_sentences():
    with pytest.raises(ValueError, match=r'template "a photo" has no "{}"'):
        class_vectors(encode, ["cat"], ["a photo"])
    with pytest.raises(ValueError, match="class 1 has no name"):
        class_vectors(encode, ["cat", []], TEMPLATES)
    with pytest.raises(ValueError, match="no classes"):
        class_vectors(encode, [], TEMPLATES)
    with pytest.raises(ValueError, match="no templates"):
        class_vectors(encode, ["cat"], [])
    with pytest.raises(ValueError, match="labels 0 to 3 do not number 3 class vectors"):
        zero_shot(np.eye(3), np.eye(3), [0, 1, 3])
    with pytest.raises(ValueError, match="labels"):
        zero_shot(np.eye(3), np.eye(3), [0.0, 1.0, 2.0])
