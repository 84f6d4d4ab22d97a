"""Reads the labels and the score function of a classifier from a transformers config.json."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.files.model_files import CONFIG
from semserve_export.hugging_face.sentence_transformers_modules import SETTINGS
from semserve_export.model_spec import Scores

CROSS_ENCODER_KEYS = ("sentence_transformers.activation_fn", "sbert_ce_default_activation_function")
"""The places of a cross-encoder's activation in config.json: in new releases of
sentence-transformers, and before release 4. `activation_fn` of its own settings has precedence."""
ACTIVATIONS: Mapping[str, Scores] = MappingProxyType(
    {
        "torch.nn.modules.linear.Identity": "none",
        "torch.nn.modules.activation.Sigmoid": "sigmoid",
        "torch.nn.modules.activation.Softmax": "softmax",
    }
)
"""The supported activations of cross-encoders, by their names in PyTorch."""
PROBLEMS: Mapping[str, Scores] = MappingProxyType(
    {
        "single_label_classification": "softmax",
        "multi_label_classification": "sigmoid",
        "regression": "none",
    }
)
"""The score function of transformers' pipeline, by `problem_type`."""
FUNCTIONS: Mapping[str, Scores] = MappingProxyType(
    {"softmax": "softmax", "sigmoid": "sigmoid", "none": "none"}
)
"""The same by `function_to_apply`."""


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """The function from logits to scores, from a key or from the default rule."""

    scores: Scores
    where: str  # the file, the key and its value, or the rule


def read_scores(
    config: Mapping[str, Any],
    outputs: int,
    settings: Mapping[str, Any] = MappingProxyType({}),
    stated: Scores | None = None,
) -> ScoreRule | None:
    """Return the score function of transformers' pipeline, or of a cross-encoder.

    Without a key, one output has a sigmoid and several outputs have a softmax. This is the rule of
    both libraries, except that a cross-encoder returns several logits unchanged unless a softmax is
    requested, also with the activation Identity.

    Args:
        config: content of config.json.
        outputs: number of the head's outputs.
        settings: content of config_sentence_transformers.json.
        stated: the value of the options.

    Returns:
        None if no key specifies it and the options do.

    Raises:
        WeightsError: a key has a value that the server does not support, or two keys contradict
            each other; the message names them.
    """
    found = [*_of_cross_encoder(config, settings, outputs), *_of_pipeline(config, outputs)]
    kinds = {each.scores for each in found}
    if len(kinds) > 1 and stated not in kinds:
        keys = " and ".join(each.where for each in found)
        raise WeightsError(f"{keys} contradict each other; pass --scores")
    if found:
        return next((each for each in found if each.scores == stated), found[0])
    rule: Scores = "sigmoid" if outputs == 1 else "softmax"
    return None if stated else ScoreRule(rule, f"{CONFIG}: does not say what makes scores")


def is_cross_encoder(config: Mapping[str, Any]) -> bool:
    """Return whether sentence-transformers saved the model as a cross-encoder."""
    return any(_value(config, key) is not None for key in CROSS_ENCODER_KEYS)


def _of_cross_encoder(
    config: Mapping[str, Any], settings: Mapping[str, Any], outputs: int
) -> Iterator[ScoreRule]:
    """Yield the value that sentence-transformers uses: that of the first key that exists."""
    places = [(SETTINGS, "activation_fn", settings.get("activation_fn"))]
    places += [(CONFIG, key, _value(config, key)) for key in CROSS_ENCODER_KEYS]
    file, key, value = next((place for place in places if place[2] is not None), places[0])
    if value is not None:
        rule = _score_rule(file, key, value, ACTIVATIONS)
        if rule.scores != "none" or outputs == 1:
            yield rule


def _of_pipeline(config: Mapping[str, Any], outputs: int) -> Iterator[ScoreRule]:
    for key, known in (("problem_type", PROBLEMS), ("function_to_apply", FUNCTIONS)):
        value = config.get(key)
        # The pipeline applies the sigmoid to one output, even if it has a label.
        if value is not None and not (outputs == 1 and known.get(str(value)) == "softmax"):
            yield _score_rule(CONFIG, key, value, known)


def _score_rule(file: str, key: str, value: Any, known: Mapping[str, Scores]) -> ScoreRule:
    if not isinstance(value, str) or value not in known:
        raise WeightsError(
            f"{file}: {key} {value!r} cannot be served; there are {', '.join(known)}"
        )
    return ScoreRule(known[value], f"{file}: {key} {value}")


def _value(config: Mapping[str, Any], key: str) -> Any:
    outer, _, inner = key.rpartition(".")
    if not outer:
        return config.get(key)
    nested = config.get(outer)
    return nested.get(inner) if isinstance(nested, Mapping) else None


def read_labels(config: Mapping[str, Any], outputs: int) -> tuple[str, ...]:
    """Return the labels in the order of the logits.

    transformers omits `id2label` for two unnamed labels, and names them LABEL_0 and LABEL_1; any
    other number of labels has the same names.

    Raises:
        WeightsError: the number of labels is not `outputs`.
    """
    stated = config.get("num_labels") or config.get("_num_labels")
    if stated is not None and stated != outputs:
        raise WeightsError(
            f"config.json: num_labels is {stated}, and the head has {outputs} outputs"
        )
    names = config.get("id2label")
    if not names:
        return tuple(f"LABEL_{place}" for place in range(outputs))
    if not isinstance(names, dict) or set(map(str, range(outputs))) != set(names):
        raise WeightsError(f"config.json: id2label does not name the {outputs} outputs of the head")
    labels = [names[str(place)] for place in range(outputs)]
    for place, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, str | int | float):
            raise WeightsError(f"config.json: id2label names output {place} {label!r}, no text")
    return tuple(map(str, labels))
