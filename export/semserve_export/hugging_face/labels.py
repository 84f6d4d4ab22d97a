"""What a transformers config.json says of a classifier: its labels, and how scores are made."""

from collections.abc import Mapping
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.model_spec import Scores

CROSS_ENCODERS = {
    None: None,
    "torch.nn.modules.linear.Identity": None,
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.activation.Softmax": "softmax",
}


def read_scores(config: Mapping[str, Any]) -> Scores:
    """Tell how transformers' pipeline, or a cross-encoder, makes scores of the logits.

    Raises:
        WeightsError: in a way that the server does not know; the message names the key.
    """
    said = {
        "problem_type": {
            None: None,
            "single_label_classification": "softmax",
            "multi_label_classification": "sigmoid",
        },
        "function_to_apply": {None: None, "softmax": "softmax", "sigmoid": "sigmoid"},
        "sbert_ce_default_activation_function": CROSS_ENCODERS,
        "sentence_transformers.activation_fn": CROSS_ENCODERS,
    }
    nested = config.get("sentence_transformers")
    values = dict(config)
    if isinstance(nested, dict):
        values["sentence_transformers.activation_fn"] = nested.get("activation_fn")
    found: dict[str, Scores] = {}
    for key, known in said.items():
        value = values.get(key)
        if not (value is None or isinstance(value, str)) or value not in known:
            raise WeightsError(f"config.json: {key} {value!r} cannot be served yet")
        if scores := known[value]:
            found[key] = scores  # type: ignore[assignment]  # of the table above
    if len(set(found.values())) > 1:
        raise WeightsError(f"config.json: {' and '.join(found)} contradict each other")
    return next(iter(found.values()), "softmax")


def read_labels(config: Mapping[str, Any], outputs: int) -> tuple[str, ...]:
    """Return the labels in the order of the logits.

    transformers leaves `id2label` out where there are two labels that nobody named; those it calls
    LABEL_0 and LABEL_1, and any other number likewise.

    Raises:
        WeightsError: the labels are not those of `outputs` logits.
    """
    said = config.get("num_labels") or config.get("_num_labels")
    if said is not None and said != outputs:
        raise WeightsError(f"config.json: num_labels is {said}, and the head has {outputs} outputs")
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
