"""Whether a classifier takes one text or two, and their order: as stated, found or assumed."""

from dataclasses import dataclass

from semserve_export.model_spec import PREMISE_FIRST, TextOrder
from semserve_export.options import ModelOptions
from semserve_export.report import Fact

ASSUMED_SINGLE = (
    "nothing says whether the classifier takes one text or two, so one is assumed; pass"
    " --pair-order if it was trained on pairs"
)
ASSUMED_ORDER = (
    "nothing says which text of a pair comes first, so the order premise, hypothesis is assumed;"
    " pass --pair-order hypothesis-premise if it was trained so, as in the tutorial of"
    " KerasHub"
)


@dataclass(frozen=True, slots=True)
class TextsOfInput:
    """The input of a classifier."""

    pair: bool
    order: TextOrder | None  # None for one text
    facts: tuple[Fact, ...]
    notes: tuple[str, ...] = ()  # the assumptions, each one line


def texts_of_input(
    options: ModelOptions, *, pairs: bool | None = None, ordered: bool = False
) -> TextsOfInput:
    """Determine the input of a classifier.

    Args:
        options: the options of the export.
        pairs: whether the files of the model specify pairs; None if they do not specify it.
        ordered: whether the files also specify that the order is that of the request.
    """
    if not (options.takes_pairs or pairs):
        if pairs is False:
            return TextsOfInput(False, None, (Fact("texts of an input", "1"),))
        fact = Fact("texts of an input", "1", "assumed")
        return TextsOfInput(False, None, (fact,), (ASSUMED_SINGLE,))
    order = options.text_order or PREMISE_FIRST
    stated = options.text_order is not None
    facts = (
        Fact("texts of an input", "2", "stated" if options.takes_pairs else "found"),
        Fact(
            "order of the texts",
            ", ".join(order),
            "stated" if stated else "found" if ordered else "assumed",
        ),
    )
    return TextsOfInput(True, order, facts, () if stated or ordered else (ASSUMED_ORDER,))
