"""A SavedModel of the TF Hub form: its graph answers as the SavedModel's own signature does."""

import keras_hub
import numpy as np
import pytest
import semserve_export
import tensorflow as tf
from parity.conftest import LENGTH_MAX, VOCABULARY, scramble
from semserve_export.bundle.tolerance import keras_run, onnx_run
from semserve_export.errors import ExportError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.loading import load_from_options
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.tokenizers.tf_text_bert import build_tf_text_bert, differing_texts
from tokenizers import Tokenizer

NAMES = ("input_word_ids", "input_mask", "input_type_ids")
ROLES = dict(zip(NAMES, ("token_ids", "padding_mask", "segment_ids"), strict=True))
TEXTS = ("the cat sat", "hello world, the cat sat on the mat!", "?", "Caf\u00e9 \u4eca\u65e5")


class Saved(tf.Module):
    """Random weights with the inputs and outputs of TF Hub's BERTs."""

    def __init__(self, vocabulary=None, *, lowercase=None):
        super().__init__()
        self.encoder = keras_hub.models.BertBackbone(
            vocabulary_size=len(VOCABULARY),
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=LENGTH_MAX,
        )
        scramble(self.encoder)
        self.tracked = [variable.value for variable in self.encoder.weights]
        if vocabulary:
            self.vocab_file = tf.saved_model.Asset(str(vocabulary))
        if lowercase is not None:
            self.do_lower_case = tf.Variable(lowercase, trainable=False)

    def __call__(self, input_word_ids, input_mask, input_type_ids):
        given = {ROLES[NAMES[0]]: input_word_ids, ROLES[NAMES[1]]: input_mask}
        return self.encoder(given | {ROLES[NAMES[2]]: input_type_ids})


def save(path, module, function, signature):
    """Write a SavedModel whose one signature is a function of named tensors."""
    traced = tf.function(function).get_concrete_function(**signature)
    tf.saved_model.save(module, str(path), signatures=traced)
    return path


def specs(length=None, batch=None, names=NAMES):
    return {name: tf.TensorSpec([batch, length], tf.int32, name=name) for name in names}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory, vocabulary):
    module = Saved(vocabulary, lowercase=True)
    return save(tmp_path_factory.mktemp("saved") / "bert", module, module.__call__, specs())


@pytest.fixture(scope="module")
def of_one_length(tmp_path_factory):
    """The signature takes 20 tokens and names its inputs in another order; no vocabulary."""
    module = Saved()

    def encode_ids(input_type_ids, input_word_ids, input_mask):
        return module(input_word_ids, input_mask, input_type_ids)

    signature = specs(20, names=(NAMES[2], NAMES[0], NAMES[1]))
    return save(tmp_path_factory.mktemp("saved") / "fixed", module, encode_ids, signature)


def options(path, batch, length=None):
    """Ask the SavedModel's signature about a batch, padded to its length: its two outputs."""
    encoder = tf.saved_model.load(str(path)).signatures["serving_default"]
    more = (length or batch["token_ids"].shape[1]) - batch["token_ids"].shape[1]
    found = encoder(
        **{
            name: tf.constant(np.pad(batch[role], ((0, 0), (0, more))))
            for name, role in ROLES.items()
        }
    )
    return found["pooled_output"].numpy(), found["sequence_output"].numpy()


def batches_of(directory):
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    encodings = encode(tokenizer, TEXTS, 20)
    return [*(pad([one]) for one in encodings), pad(encodings), pad(encodings, 20)]


def test_the_pooled_output_is_the_embedding_where_nobody_says_otherwise(saved):
    loaded = load_from_options(ModelOptions(str(saved), name="hub", trust=True))
    run = keras_run(loaded.keras_model, loaded.spec.inputs)
    encodings = encode(loaded.tokenizer, TEXTS, LENGTH_MAX)
    for batch in (pad(encodings[:1]), pad(encodings), pad(encodings, LENGTH_MAX)):
        pooled, _ = options(saved, batch)
        np.testing.assert_allclose(run(batch), pooled, rtol=0, atol=1e-5)
    assert ("pooled", False, "cosine", LENGTH_MAX) == (
        loaded.spec.pooling,
        loaded.spec.normalized,
        loaded.spec.metric,
        loaded.spec.max_sequence_length,
    )


def test_a_signature_of_one_length_in_another_order_gives_the_mean_of_its_tokens(
    of_one_length, vocabulary, tmp_path
):
    report = semserve_export.export(
        of_one_length,
        tmp_path / "hub",
        trust=True,
        tokenizer=vocabulary,
        pooling="mean",
        normalize=True,
    )
    run = onnx_run(tmp_path / "hub" / "model.onnx")
    for batch in batches_of(tmp_path / "hub"):
        _, tokens = options(of_one_length, batch, 20)
        mask = batch["padding_mask"]
        tokens = tokens[:, : mask.shape[1]]
        mean = (tokens * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        np.testing.assert_allclose(run(batch), expected, rtol=0, atol=1e-5)
    assert (20, True) == (report.manifest["max_sequence_length"], report.manifest["normalized"])


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_tokenizer_reads_odd_texts_as_tensorflow_text_does(lowercase):
    pieces = VOCABULARY if lowercase else [*VOCABULARY, *"ABC\u00c4\u00e9", "##\u00e9"]
    tokenizer = build_tf_text_bert(pieces, lowercase=lowercase)
    assert [] == differing_texts(tokenizer, pieces, lowercase=lowercase)


def of_strings(module):
    def read(text):
        ids = tf.ones([tf.size(text), 3], tf.int32)
        return module(ids, ids, ids * 0)

    return read, {"text": tf.TensorSpec([None], tf.string, name="text")}


def of_other_outputs(module):
    def encode_ids(input_word_ids, input_mask, input_type_ids):
        return {"logits": module(input_word_ids, input_mask, input_type_ids)["pooled_output"]}

    return encode_ids, specs()


def of_other_inputs(module):
    def encode_ids(ids, mask):
        return module(ids, mask, ids * 0)

    return encode_ids, specs(names=("ids", "mask"))


def of_one_text(module):
    return module.__call__, specs(batch=1)


OTHER_FORMS = {
    of_strings: "the SavedModel's input 'text' is a string: its preprocessing is inside",
    of_other_outputs: "the SavedModel's outputs are logits; give its signature the outputs",
    of_other_inputs: "the SavedModel's inputs are ids, mask; what can be exported takes",
    of_one_text: "the SavedModel takes batches of 1 texts alone",
}


@pytest.mark.parametrize("form", OTHER_FORMS, ids=lambda form: form.__name__)
def test_a_saved_model_of_another_form_is_refused_with_what_to_do(form, vocabulary, tmp_path):
    module = Saved(vocabulary)
    path = save(tmp_path / "other", module, *form(module))
    assert OTHER_FORMS[form] in refused(path, trust=True)


def test_what_a_saved_model_cannot_give_or_tell_is_refused(saved, of_one_length, tmp_path):
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    assert "a SavedModel is a program" in refused(saved)
    assert "pooling: 'max' is none of" in refused(saved, trust=True, pooling="max")
    assert "labels: a SavedModel of a BERT" in refused(saved, trust=True, labels=["a", "b"])
    assert "max_length: the SavedModel takes at most 48" in refused(
        saved, trust=True, max_length=49
    )
    assert "holds no assets/vocab.txt" in refused(of_one_length, trust=True)
    assert "the vocabulary is no BERT's" in refused(
        of_one_length, trust=True, tokenizer=tmp_path / "words.txt"
    )


def refused(path, **said):
    with pytest.raises(ExportError) as raised:
        semserve_export.export(path, path.parent / "bundle", **said)
    assert not (path.parent / "bundle").exists()
    (line,) = str(raised.value).splitlines()
    return line
