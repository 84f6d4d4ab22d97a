"""What a transformers config.json says of a classifier: its labels, and how scores are made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.files.model_files import CONFIG
from semserve_export.hugging_face.sentence_transformers_modules import SETTINGS
from semserve_export.model_spec import Scores

CROSS_ENCODER_KEYS = ("sentence_transformers.activation_fn", "sbert_ce_default_activation_function")
"""Where a cross-encoder's config.json says what makes scores of its logits: new releases of
sentence-transformers, and those before 4. `activation_fn` of its own settings goes before both."""
ACTIVATIONS: Mapping[str, Scores] = MappingProxyType(
    {
        "torch.nn.modules.linear.Identity": "none",
        "torch.nn.modules.activation.Sigmoid": "sigmoid",
        "torch.nn.modules.activation.Softmax": "softmax",
    }
)
"""Those of cross-encoders that can be served, by their names in PyTorch."""
PROBLEMS: Mapping[str, Scores] = MappingProxyType(
    {
        "single_label_classification": "softmax",
        "multi_label_classification": "sigmoid",
        "regression": "none",
    }
)
"""What transformers' pipeline makes of the logits, by `problem_type`."""
FUNCTIONS: Mapping[str, Scores] = MappingProxyType(
    {"softmax": "softmax", "sigmoid": "sigmoid", "none": "none"}
)
"""The same by `function_to_apply`."""


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """What makes scores of a head's logits, by one key or by the rule that holds where none is."""

    scores: Scores
    where: str  # the file and key with its value, or the rule


def read_scores(
    config: Mapping[str, Any],
    outputs: int,
    settings: Mapping[str, Any] = MappingProxyType({}),
    stated: Scores | None = None,
) -> ScoreRule | None:
    """Tell how transformers' pipeline, or a cross-encoder, makes scores of the logits.

    Where no key says it, one output is for a sigmoid and several are for a softmax. That is the
    rule of both libraries, except that a cross-encoder leaves several logits as they are unless it
    is asked for their softmax; so does its Identity.

    Args:
        config: of config.json.
        outputs: how many the head has.
        settings: of config_sentence_transformers.json.
        stated: what the caller says.

    Returns:
        None where no key says it and the caller does.

    Raises:
        WeightsError: a key names something that the server does not know, or two keys contradict
            each other; the message names them.
    """
    found = [*_of_cross_encoder(config, settings, outputs), *_of_pipeline(config, outputs)]
    kinds = {each.scores for each in found}
    if len(kinds) > 1 and stated not in kinds:
        keys = " and ".join(each.where for each in found)
        raise WeightsError(f"{keys} contradict each other; say --scores")
    if found:
        return next((each for each in found if each.scores == stated), found[0])
    rule: Scores = "sigmoid" if outputs == 1 else "softmax"
    return None if stated else ScoreRule(rule, f"{CONFIG}: does not say what makes scores")


def is_cross_encoder(config: Mapping[str, Any]) -> bool:
    """Tell whether sentence-transformers saved the model as a cross-encoder."""
    return any(_value(config, key) is not None for key in CROSS_ENCODER_KEYS)


def _of_cross_encoder(
    config: Mapping[str, Any], settings: Mapping[str, Any], outputs: int
) -> Iterator[ScoreRule]:
    """Yield what sentence-transformers goes by: the first of the keys that is there."""
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
        # Of one output the pipeline takes the sigmoid, also where it is called a label.
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

    transformers leaves `id2label` out where there are two labels that nobody named; those it calls
    LABEL_0 and LABEL_1, and any other number likewise.

    Raises:
        WeightsError: the labels are not those of `outputs` logits.
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
