"""An adapter is small, goes onto the weights it was made for, and says when it does not fit."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from semserve_export.adapter import (
    TENSORS,
    apply_adapter,
    assign_values,
    dequantize,
    quantize,
    save_adapter,
    trainable_values,
)
from semserve_export.bert import freeze_embeddings, make_classifier
from semserve_export.errors import AdapterError


@pytest.fixture
def classifier(make_backbone):
    backbone = make_backbone()
    freeze_embeddings(backbone)
    return make_classifier(backbone, 3)


@pytest.fixture
def base(classifier):
    return trainable_values(classifier)


@pytest.fixture
def tuned(base):
    random = np.random.default_rng(5)
    return {
        name: value + random.normal(0, 0.01, value.shape).astype(np.float32)
        for name, value in base.items()
    }


def test_what_was_learnt_comes_back_to_half_a_step_of_int8(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    apply_adapter(tmp_path, classifier)
    for name, value in trainable_values(classifier).items():
        step = np.abs(tuned[name] - base[name]).max(axis=-1, keepdims=True) / 127
        assert (np.abs(value - tuned[name]) <= 0.51 * step).all(), name
        if not name.endswith("/kernel") or name.startswith("logits"):
            np.testing.assert_array_equal(value, tuned[name])


def test_frozen_variables_are_not_kept(base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    assert not [name for name in load_file(tmp_path / TENSORS) if "embedding" in name]


def test_a_row_that_did_not_change_comes_back_unchanged():
    delta = np.zeros((2, 4), np.float32)
    delta[1] = 0.5
    np.testing.assert_array_equal(delta[0], dequantize(*quantize(delta))[0])


def test_applying_twice_from_the_base_gives_the_same_bits(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    apply_adapter(tmp_path, classifier)
    first = trainable_values(classifier)
    assign_values(classifier, base)
    apply_adapter(tmp_path, classifier)
    for name, value in trainable_values(classifier).items():
        np.testing.assert_array_equal(first[name], value)


def test_an_adapter_of_another_model_is_refused(base, tuned, tmp_path, make_backbone):
    save_adapter(tmp_path, tuned, base)
    unfrozen = make_classifier(make_backbone(), 3)
    with pytest.raises(AdapterError, match="lacks"):
        apply_adapter(tmp_path, unfrozen)


def test_a_tensor_too_many_or_of_another_shape_is_refused(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    tensors = load_file(tmp_path / TENSORS)
    save_file({**tensors, "surprise": np.zeros(1, np.float32)}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match="surprise is no variable"):
        apply_adapter(tmp_path, classifier)
    save_file({**tensors, "logits/bias": np.zeros(4, np.float32)}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match=r"logits/bias is \(4,\), not \(3,\)"):
        apply_adapter(tmp_path, classifier)


def test_a_refused_adapter_leaves_the_model_as_it_was(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, {**tuned, "logits/bias": np.zeros(4, np.float32)}, base)
    with pytest.raises(AdapterError):
        apply_adapter(tmp_path, classifier)
    for name, value in trainable_values(classifier).items():
        np.testing.assert_array_equal(base[name], value)


def test_a_damaged_or_missing_file_is_refused(classifier, tmp_path):
    with pytest.raises(AdapterError, match="cannot be read"):
        apply_adapter(tmp_path, classifier)
    (tmp_path / TENSORS).write_bytes(b"\xff" * 64)
    with pytest.raises(AdapterError, match="cannot be read"):
        apply_adapter(tmp_path, classifier)


def test_every_trainable_name_is_the_same_in_a_second_model(classifier, make_backbone):
    backbone = make_backbone()
    freeze_embeddings(backbone)
    again = make_classifier(backbone, 3)
    assert [v.path for v in classifier.trainable_variables] == [
        v.path for v in again.trainable_variables
    ]
