"""An adapter is small, goes onto the weights it was made for, and says when it does not fit."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from semserve_export.errors import AdapterError
from semserve_export.models.bert import make_classifier
from semserve_export.models.delta_adapter import (
    TENSORS,
    apply_adapter,
    assign_values,
    base_values,
    dequantize,
    has_factors,
    mean_of,
    quantize,
    read_adapter,
    save_adapter,
    tuned_values,
)

FROZEN = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm")


@pytest.fixture
def classifier(make_backbone):
    backbone = make_backbone()
    for name in FROZEN:
        backbone.get_layer(name).trainable = False
    return make_classifier(backbone, 3)


@pytest.fixture
def base(classifier):
    return base_values(classifier)


@pytest.fixture
def tuned(classifier):
    random = np.random.default_rng(5)
    return {
        name: value + random.normal(0, 0.01, value.shape).astype(np.float32)
        for name, value in tuned_values(classifier).items()
    }


def test_what_was_learnt_comes_back_to_half_a_step_of_int8(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    apply_adapter(tmp_path, classifier)
    for name, value in tuned_values(classifier).items():
        if name.endswith("/kernel") and not name.startswith("logits"):
            step = np.abs(tuned[name] - base[name]).max(axis=-1, keepdims=True) / 127
            assert (np.abs(value - tuned[name]) <= 0.51 * step).all(), name
        else:
            np.testing.assert_array_equal(value, tuned[name])


def test_what_was_frozen_is_not_kept_and_stays(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    assert not [name for name in load_file(tmp_path / TENSORS) if "embedding" in name]
    apply_adapter(tmp_path, classifier)
    now = base_values(classifier)
    for name in base.keys() - tuned.keys():
        np.testing.assert_array_equal(base[name], now[name])


def test_a_trained_table_is_kept_as_a_difference_too(make_backbone, tmp_path):
    model = make_classifier(make_backbone(), 3)
    save_adapter(tmp_path, tuned_values(model), base_values(model))
    stored = load_file(tmp_path / TENSORS)
    (delta,) = [name for name in stored if "token_embedding" in name and name.endswith(".delta")]
    assert np.int8 == stored[delta].dtype


def test_a_row_that_did_not_change_comes_back_unchanged():
    delta = np.zeros((2, 4), np.float32)
    delta[1] = 0.5
    np.testing.assert_array_equal(delta[0], dequantize(*quantize(delta))[0])


def test_applying_twice_from_the_base_gives_the_same_bits(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path, tuned, base)
    apply_adapter(tmp_path, classifier)
    first = tuned_values(classifier)
    assign_values(classifier, base)
    apply_adapter(tmp_path, classifier)
    for name, value in tuned_values(classifier).items():
        np.testing.assert_array_equal(first[name], value)


def test_the_mean_of_two_adapters_lies_between_them(classifier, base, tuned, tmp_path):
    save_adapter(tmp_path / "one", tuned, base)
    save_adapter(tmp_path / "two", {name: value - 1 for name, value in tuned.items()}, base)
    one, two = (read_adapter(tmp_path / part, classifier) for part in ("one", "two"))
    for name, value in mean_of([one, two]).items():
        np.testing.assert_allclose((one[name] + two[name]) / 2, value, rtol=1e-6)


def test_what_lora_learnt_goes_into_the_kernels(make_backbone, tmp_path):
    backbone = make_backbone()
    learner = make_classifier(backbone, 3)
    base = base_values(learner)
    backbone.enable_lora(2)
    random = np.random.default_rng(5)
    for variable in learner.trainable_variables:
        variable.assign(random.normal(0, 0.3, variable.shape))
    tokens = np.array([[2, 5, 6, 3]], np.int32)
    inputs = {
        "token_ids": tokens,
        "segment_ids": np.zeros_like(tokens),
        "padding_mask": np.ones_like(tokens),
    }
    plain = make_classifier(make_backbone(), 3)
    values = tuned_values(learner)
    assign_values(plain, values)
    np.testing.assert_allclose(learner(inputs), plain(inputs), atol=1e-5)
    save_adapter(tmp_path, values, base)
    assert not [name for name in load_file(tmp_path / TENSORS) if "lora" in name]
    apply_adapter(tmp_path, plain)


def low_rank_values(base, rank=2):
    """Values that differ from the base by products of factors of this rank, and a new head."""
    random = np.random.default_rng(5)
    values = {"logits/kernel": np.ones((16, 3), np.float32), "logits/bias": np.zeros(3, np.float32)}
    for name, value in base.items():
        if name.endswith("/kernel"):
            left = random.normal(0, 0.1, (*value.shape[:-1], rank))
            values[name] = (value + left @ random.normal(0, 0.1, (rank, value.shape[-1]))).astype(
                np.float32
            )
    return values


def test_a_difference_of_low_rank_is_kept_as_factors_that_hold_it_better_than_int8(
    classifier, base, tmp_path
):
    values = low_rank_values(base)
    save_adapter(tmp_path / "factors", values, base, low_rank=True)
    save_adapter(tmp_path / "whole", values, base)
    assert has_factors(tmp_path / "factors")
    assert not has_factors(tmp_path / "whole")
    factors, whole = (read_adapter(tmp_path / kind, classifier) for kind in ("factors", "whole"))
    for name in values.keys() & base.keys():
        worst = np.abs(values[name] - base[name]).max()
        assert np.abs(factors[name] - values[name]).max() < 2e-3 * worst
        assert np.abs(factors[name] - values[name]).max() < np.abs(whole[name] - values[name]).max()


def test_a_difference_of_full_rank_is_kept_as_int8_whatever_was_hoped(
    classifier, base, tuned, tmp_path
):
    save_adapter(tmp_path, tuned, base, low_rank=True)
    assert not has_factors(tmp_path)
    apply_adapter(tmp_path, classifier)


def test_factors_that_do_not_fit_or_lack_one_are_refused(classifier, base, tmp_path):
    save_adapter(tmp_path, low_rank_values(base), base, low_rank=True)
    tensors = load_file(tmp_path / TENSORS)
    (left, *_) = [name for name in tensors if name.endswith(".left")]
    right = left.replace(".left", ".right")
    save_file({**tensors, right: np.ones((5, 8), np.float16)}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match=r"the factors of .* do not fit each other"):
        apply_adapter(tmp_path, classifier)
    save_file({name: tensors[name] for name in tensors if name != right}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match=r"lacks the difference or the scale of .*, or a factor"):
        apply_adapter(tmp_path, classifier)


def test_an_adapter_without_the_head_is_refused(classifier, base, tuned, tmp_path):
    headless = {name: value for name, value in tuned.items() if name in base}
    save_adapter(tmp_path, headless, base)
    with pytest.raises(AdapterError, match="lacks logits/"):
        apply_adapter(tmp_path, classifier)


def test_a_tensor_too_many_or_too_few_or_of_another_shape_is_refused(
    classifier, base, tuned, tmp_path
):
    save_adapter(tmp_path, tuned, base)
    tensors = load_file(tmp_path / TENSORS)
    save_file({**tensors, "surprise": np.zeros(1, np.float32)}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match="surprise is no variable"):
        apply_adapter(tmp_path, classifier)
    save_file({**tensors, "logits/bias": np.zeros(4, np.float32)}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match=r"logits/bias is \(4,\), not \(3,\)"):
        apply_adapter(tmp_path, classifier)
    (scale, *_) = [name for name in tensors if name.endswith(".scale")]
    save_file({name: tensors[name] for name in tensors if name != scale}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match="lacks the difference or the scale"):
        apply_adapter(tmp_path, classifier)
    delta = scale.replace(".scale", ".delta")
    save_file({**tensors, delta: np.zeros((1, 1), np.int8)}, tmp_path / TENSORS)
    with pytest.raises(AdapterError, match=" is "):
        apply_adapter(tmp_path, classifier)


def test_a_refused_adapter_leaves_the_model_as_it_was(classifier, base, tuned, tmp_path):
    before = tuned_values(classifier)
    save_adapter(tmp_path, {**tuned, "logits/bias": np.zeros(4, np.float32)}, base)
    with pytest.raises(AdapterError):
        apply_adapter(tmp_path, classifier)
    for name, value in tuned_values(classifier).items():
        np.testing.assert_array_equal(before[name], value)


def test_a_damaged_or_missing_file_is_refused(classifier, tmp_path):
    with pytest.raises(AdapterError, match="cannot be read"):
        apply_adapter(tmp_path, classifier)
    (tmp_path / TENSORS).write_bytes(b"\xff" * 64)
    with pytest.raises(AdapterError, match="cannot be read"):
        apply_adapter(tmp_path, classifier)


def test_every_name_is_the_same_in_a_second_model(classifier, make_backbone):
    again = make_classifier(make_backbone(), 3)
    assert [v.path for v in classifier.weights] == [v.path for v in again.weights]
