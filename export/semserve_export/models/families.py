"""The families of KerasHub models that can be exported, with their differences."""

from dataclasses import dataclass
from typing import Any

import keras_hub

from semserve_export.errors import WeightsError
from semserve_export.model_spec import INPUTS, Activation

models = keras_hub.models


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture, with its names in KerasHub and transformers."""

    name: str
    classifier: Any  # the KerasHub task, which has its backbone and its preprocessor
    gelu: Activation  # in KerasHub, which may differ from the training of the weights
    model_type: str | None = None  # the name in transformers, if its directories are supported
    plain: bool = True  # whether its layers are those of BERT, so that `encoder_reader` can read it

    @property
    def backbone(self) -> Any:
        """The backbone's class."""
        return self.classifier.backbone_cls


FAMILIES = (
    Family("BERT", models.BertTextClassifier, "tanh", "bert"),
    Family("RoBERTa", models.RobertaTextClassifier, "erf", "roberta"),
    Family("DistilBERT", models.DistilBertTextClassifier, "erf", "distilbert"),
    Family("ALBERT", models.AlbertTextClassifier, "tanh", "albert"),
    Family("DeBERTa-v3", models.DebertaV3TextClassifier, "erf", "deberta-v2", plain=False),
    Family("XLM-RoBERTa", models.XLMRobertaTextClassifier, "erf", "xlm-roberta"),
)


def family_of(kind: str) -> Family:
    """Return the family of a Hugging Face model type, or of a backbone's registered name.

    Raises:
        WeightsError: there is none; the message lists the families.
    """
    for family in FAMILIES:
        if kind in {family.model_type, f"keras_hub>{family.backbone.__name__}"}:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise WeightsError(
        f"holds {kind or 'an unknown model'}, which cannot be exported: what can be is {known}"
    )


def inputs_of(model: Any) -> tuple[str, ...]:
    """Return the names of the model's inputs, in our order."""
    names = {one.name for one in model.inputs}
    return tuple(name for name in INPUTS if name in names)
