"""The texts of a similarity call: which are different, and where the vectors of each side are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from semserve_server import request_checks as checks
from semserve_server.errors import InvalidRequest
from semserve_server.library import arguments
from semserve_server.library.arguments import SIDES, Texts
from semserve_server.repository.manifest import Manifest
from semserve_server.request_checks import DEFAULT_TRUNCATIONS, Limits
from semserve_server.services.scores import METRICS, Rows, scores_in_pieces


@dataclass(frozen=True, slots=True)
class Comparison:
    """A checked similarity call."""

    request: Texts
    """The different texts. Each is embedded once."""
    left: Sequence[int]
    """Index of each left text among them."""
    right: Sequence[int]
    """Index of each right text among them."""
    metric: str

    @property
    def scores(self) -> int:
        """Number of scores."""
        return len(self.left) * len(self.right)

    def pieces(self, rows: Rows) -> Iterator[bytes]:
        """Compute the scores from the vectors of the different texts, some rows at a time.

        Yields:
            Float32 [rows, right] as bytes, for consecutive left texts.
        """
        left, right = rows[list(self.left)], rows[list(self.right)]
        for some in scores_in_pieces(left, right, self.metric):
            yield some.tobytes()


def comparison(
    manifest: Manifest,
    limits: Limits,
    left: Sequence[str],
    right: Sequence[str] | None,
    *,
    metric: str | None,
    prompts: tuple[str | None, str | None],
) -> Comparison:
    """Check a similarity call.

    Args:
        manifest: the manifest of the model.
        limits: the limits.
        left: the left texts.
        right: the right texts; None for the left texts.
        metric: name of the metric; None for the model's own.
        prompts: names of the prompts of both sides; None for the default, or on the right side
            for the prompt of the left side.

    Raises:
        InvalidRequest: an argument is invalid; names it.
    """
    lefts = arguments.checked_texts("left", left, limits)
    rights = lefts if right is None else arguments.checked_texts("right", right, limits)
    name = "left" if right is None else "right"
    checks.scores(limits, ("left", len(lefts)), (name, len(rights)))
    formula = (manifest.metric or "cosine") if metric is None else metric
    arguments.choice("metric", formula, METRICS)
    arguments.refuse_other_type("prompt_name", prompts[0], str)
    arguments.refuse_other_type("right_prompt_name", prompts[1], str)
    first = second = checks.named_prompt(manifest, prompts[0], "prompt_name")
    if prompts[1] is not None:
        second = checks.named_prompt(manifest, prompts[1], "right_prompt_name")
    two = manifest.sides is not None
    if right is not None:
        checks.total({"left": len(lefts), "right": len(rights)}, limits)
    elif (two or first != second) and 2 * len(lefts) > limits.max_texts:
        wrong = f"{len(lefts)} texts, each read as left and as right, are {2 * len(lefts)} texts, "
        raise InvalidRequest.of("left", wrong + f"at most {limits.max_texts} a call")
    keys = [(first + text, SIDES["left"]) for text in lefts]
    keys += [(second + text, SIDES["right"] if two else SIDES["left"]) for text in rights]
    paths = [f"left[{at}]" for at in range(len(lefts))]
    paths += [f"{name}[{at}]" for at in range(len(rights))]
    path_of: dict[tuple[str, int], str] = {}
    for key, path in zip(keys, paths, strict=True):
        path_of.setdefault(key, path)
    place = {key: at for at, key in enumerate(path_of)}
    places = [place[key] for key in keys]
    return Comparison(
        Texts(
            [text for text, _ in place],
            list(path_of.values()),
            DEFAULT_TRUNCATIONS[manifest.truncation],
            [number for _, number in place] if two else None,
        ),
        places[: len(lefts)],
        places[len(lefts) :],
        formula,
    )
