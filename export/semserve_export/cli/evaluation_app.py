"""The command that measures bundles on pairs of texts."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from semserve_export.bundle.layout import read_manifest
from semserve_export.cli.terminal import commands, console
from semserve_export.data.probes import OWN_PROBES, read_probes
from semserve_export.data.scored_pairs import read_scored_pairs
from semserve_export.errors import ExportError


def measure(
    *bundles: Path,
    pairs: Annotated[tuple[Path, ...], Parameter(consume_multiple=1, negative=())] = (),
    probes: Annotated[bool, Parameter(negative=())] = False,
    variant: str = "portable",
) -> None:
    """Measure bundles: embedders on scored pairs, or classifiers on labelled pairs.

    Args:
        bundles: Directories of bundles: only embedders, or only classifiers with the same labels.
        pairs: For embedders, files with the columns sentence1, sentence2 and score, of any scale.
            For classifiers, files as for `train`; an optional column kind groups the results.
        probes: Measure classifiers of entailment, neutral and contradiction on the pairs that are
            included in semserve-export, grouped by kind: synonyms, antonyms, numbers, negation and
            others.
        variant: Variant to measure.
    """
    if not bundles:
        raise ExportError("name the directory of a bundle, such as models/minilm-l6-v2")
    if bool(pairs) == probes:
        raise ExportError("pass either --pairs FILE or --probes")
    manifests = [read_manifest(bundle) for bundle in bundles]
    labels = [manifest["labels"] for manifest in manifests]
    if any(one != labels[0] for one in labels):
        raise ExportError("the bundles have different labels; measure them one by one")
    if labels[0] is None:
        if probes:
            raise ExportError(f"--probes: {bundles[0]} has no labels")
        commands("evaluation_commands").measure_embedders(
            bundles, read_scored_pairs(pairs), variant, console
        )
        return
    read = read_probes((OWN_PROBES,) if probes else pairs, labels[0])
    commands("evaluation_commands").measure_labels(bundles, read, variant, console)
