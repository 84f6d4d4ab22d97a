"""Models of two texts: their towers are found, and the server answers as the model itself does."""

import keras
import numpy as np
import pytest
from parity import two_text_models as models
from parity.two_text_models import vectorization
from semserve_export.errors import ExportError, FidelityError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.loading import load_from_options
from semserve_export.towers.comparison import Comparison, recognised
from semserve_export.towers.encoders import same_encoders
from semserve_export.towers.two_texts import find_towers, two_texts

RECOGNISED = {
    models.cosine_by_dot: ("cosine", 1, True),
    models.cosine_by_operations: ("cosine", 1, True),
    models.manhattan_by_lambda: ("manhattan", 1, True),
    models.euclidean_by_a_layer: ("euclidean", -1, True),
    models.dot_of_words_in_sequences_of_ten: ("dot", 1, True),
    models.a_dense_layer_for_each_side: ("cosine", 1, False),
    models.two_lstms: ("cosine", 1, False),
    models.nested: ("cosine", 1, True),
    models.of_strings: ("cosine", 1, True),
    models.by_keras_operations: ("manhattan", 1, True),
    models.of_two_arguments: ("dot", 1, True),
}


@pytest.mark.parametrize("make", RECOGNISED, ids=lambda make: make.__name__)
def test_the_towers_and_their_comparison_are_found_however_the_model_is_written(make):
    texts = two_texts(make())
    towers = next(find_towers(texts))
    assert RECOGNISED[make] == (
        towers.comparison.metric,
        towers.comparison.sign,
        same_encoders(towers.left, towers.right),
    )


@pytest.mark.parametrize(
    "make", [models.score_of_a_difference, models.manhattan_of_half_the_distance]
)
def test_a_comparison_that_the_server_lacks_is_not_taken_for_one_that_it_has(make):
    assert [] == [one for one in find_towers(two_texts(make())) if one.comparison]


def test_the_left_text_is_the_one_that_the_author_names_first():
    """Keras itself sorts the names: of `premise` and `hypothesis` the second comes first there."""
    assert ("premise", "hypothesis") == two_texts(models.cosine_by_dot()).side_names()


@pytest.mark.parametrize("width", [2, 16, 768])
def test_a_comparison_is_recognised_by_its_values_and_not_where_it_only_resembles_one(width):
    def heads(u, v):
        distance = np.abs(u - v).sum(axis=1)
        return {
            "manhattan": np.exp(-distance),
            "a mean in place of a sum": np.exp(-np.abs(u - v).mean(axis=1)),
            "one over one and the distance": 1 / (1 + distance),
            "a cosine from 0 to 1": (1 + _cosine(u, v)) / 2,
            "the square of the distance": -np.square(u - v).sum(axis=1),
            "nearly a cosine": _cosine(u, v) + 1e-4,
            "a constant": np.zeros(len(u)),
        }

    names = heads(np.ones((1, 2)), np.ones((1, 2)))
    found = {name: recognised(lambda u, v, name=name: heads(u, v)[name], width) for name in names}
    assert {"manhattan": Comparison("manhattan")} == {
        name: one for name, one in found.items() if one is not None
    }


def _cosine(u, v):
    return np.sum(u * v, axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))


REFUSED = {
    "three texts": (models.triplets, {}, "the model takes 3 texts (anchor, good, bad)"),
    "another metric": (
        models.cosine_by_operations,
        {"metric": "manhattan"},
        "metric: manhattan of the towers' vectors differs from the model's own answers by up to",
    ),
    "a metric of no towers": (
        models.score_of_a_difference,
        {"metric": "cosine"},
        "metric: cosine of the towers' vectors differs from the model's own answers by up to",
    ),
    "a tower that there is not": (
        models.manhattan_by_lambda,
        {"tower": "bert"},
        "tower: the model has no layer 'bert'; the models inside it are",
    ),
    "a vocabulary for each side": (
        models.two_vocabularies,
        {"tokenizer": None},
        "the two sides have different tokenizers",
    ),
    "a tokenizer beside the model's own": (
        models.of_strings,
        {},
        "tokenizer: the model holds its own",
    ),
    "a text that another layer reads too": (
        models.of_a_length_too,
        {"tokenizer": None},
        "the model uses its input left in another way too",
    ),
    "a subclass that was never called": (
        models.ByKerasOperations,
        {},
        "the model was never called",
    ),
    "numbers that are no text": (
        models.a_text_and_its_features,
        {},
        "the input 'features' is no text: no Embedding looks its numbers up",
    ),
    "two texts in one sequence": (
        models.two_texts_in_one_sequence,
        {"tokenizer": None},
        "the model reads its two texts as one sequence",
    ),
    "vectors of length 1 where the model compares others": (
        models.manhattan_by_lambda,
        {"normalize": True},
        "normalize: manhattan of the towers' vectors differs from the model's own answers",
    ),
    "a pooling of vectors": (
        models.cosine_by_dot,
        {"pooling": "cls"},
        "pooling: each tower gives one vector a text, by mean",
    ),
    "labels of a comparison": (
        models.cosine_by_dot,
        {"labels": ("same", "other")},
        "labels: is for the task classification",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_a_model_of_two_texts_is_refused_in_one_line(case):
    make, output, message = REFUSED[case]
    options = {"name": "mine", "tokenizer": vectorization()} | output
    with pytest.raises(ExportError) as raised:
        load_from_options(ModelOptions("", live=make(), **options))
    assert message in str(raised.value)
    assert 1 == len(str(raised.value).splitlines())


def test_an_export_whose_vectors_differ_from_the_model_is_refused_with_the_difference():
    """What is compared is the model of two texts itself, not only its encoder."""
    with pytest.raises(FidelityError, match=r"differs from the model's own answers by up to \d"):
        load_from_options(
            ModelOptions(
                "",
                live=models.manhattan_of_half_the_distance(),
                name="mine",
                tokenizer=vectorization(),
                metric="manhattan",
            )
        )


def test_a_named_tower_is_taken():
    model = models.manhattan_by_lambda()
    (tower,) = [layer for layer in model.layers if isinstance(layer, keras.Sequential)]
    loaded = load_from_options(
        ModelOptions("", live=model, name="mine", tokenizer=vectorization(), tower=tower.name)
    )
    assert ("manhattan", models.WIDTH) == (
        loaded.spec.metric,
        loaded.keras_model.output_shape[-1],
    )


@pytest.mark.parametrize(
    ("make", "said", "expected"),
    [
        (models.hypothesis_first, {}, ("hypothesis", "premise")),
        (models.classes_of_both, {}, ("premise", "hypothesis")),
        (
            models.classes_of_both,
            {"text_order": ("hypothesis", "premise")},
            ("hypothesis", "premise"),
        ),
    ],
)
def test_the_left_text_of_a_pair_is_the_one_that_its_input_names_or_its_caller_says(
    make, said, expected
):
    loaded = load_from_options(
        ModelOptions("", live=make(), name="mine", tokenizer=vectorization(), **said)
    )
    assert expected == loaded.spec.text_order
