"""A training's report: a page in Markdown with three pictures, beside the adapter."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from semserve_export.distillation.temperature_scaling import Bin, Calibration
from semserve_export.training.metrics import LabelQuality

REPORT = "report.md"
CONFUSION, RELIABILITY, CURVE = "confusion.png", "reliability.png", "curve.png"
DPI = 100
WIDE, SQUARE = (7.0, 3.2), (4.2, 3.8)  # inches
BEFORE, AFTER = "#b0b0b0", "#1f6fb4"


def write_report(
    directory: Path,
    record: Mapping[str, Any],
    quality: LabelQuality,
    calibration: Calibration,
    log: Sequence[Mapping[str, Any]],
) -> None:
    """Write report.md and its pictures into a directory.

    Args:
        directory: directory of the adapter.
        record: the record of `write_record`.
        quality: metrics of the validation pairs, by label.
        calibration: calibration on the
            same pairs.
        log: the lines of the training's `ResultLog`.
    """
    labels = record["labels"]
    pictures = {
        CONFUSION: _confusion(quality, labels),
        RELIABILITY: _reliability(calibration),
    }
    if any("validation_accuracy" in line for line in log):
        pictures[CURVE] = _curve(log)
    for name, figure in pictures.items():
        # Without the name of the software, the same figures give the same bytes.
        figure.savefig(directory / name, dpi=DPI, metadata={"Software": None})
    (directory / REPORT).write_text(_page(record, quality, calibration), encoding="utf-8")


def _page(record: Mapping[str, Any], quality: LabelQuality, calibration: Calibration) -> str:
    figures = record["figures"]
    rows = "\n".join(
        f"| {label} | {count} | {precision:.3f} | {recall:.3f} | {f1:.3f} |"
        for label, count, precision, recall, f1 in zip(
            record["labels"],
            quality.confusion.sum(axis=1),
            quality.precision,
            quality.recall,
            quality.f1,
            strict=True,
        )
    )
    plan = "\n".join(f"| `{name}` | {_shown(value)} |" for name, value in record["plan"].items())
    return f"""# Training of {record["recipe"]}

From {record["base"]}, with {figures["pairs_trained_on"]:,} pairs of
{_files(record, "training")}{_unlabelled(record)},
in {figures["training_seconds"] / 60:.0f} minutes.
Measured on {figures["pairs_measured"]:,} pairs of {_files(record, "validation")},
with the adapter as it is kept.{_test(figures)}

**Accuracy {quality.accuracy:.4f}**; macro F1 {sum(quality.f1) / len(quality.f1):.4f}.

| label | pairs | precision | recall | F1 |
|---|---|---|---|---|
{rows}

![Confusion matrix]({CONFUSION})

## Can the scores be believed?

Expected calibration error (15 bins) **{calibration.error_after:.4f}** with the logits divided by a
temperature, {calibration.error_before:.4f} without. For this measure each half of the premises was
judged at the temperature fitted on the other half; the adapter's head is divided by the one fitted
on both, {calibration.temperature:.4f}.

![Reliability diagram]({RELIABILITY})

{_course(record)}

| option | value |
|---|---|
{plan}
"""


def _course(record: Mapping[str, Any]) -> str:
    figures = record["figures"]
    if "trained_by" in record:
        return f"## How it went\n\n![Training curve]({CURVE})\n\nTrained by {record['trained_by']}."
    if not figures["accuracy_by_epoch"]:
        return "Nothing was trained: this is the mean of the adapters that it began from."
    return f"""## How it went

![Training curve]({CURVE})

Accuracy on the first {figures["pairs_measured_by_epoch"]:,} validation pairs after each epoch:
{", ".join(f"{accuracy:.4f}" for accuracy in figures["accuracy_by_epoch"])}; kept was epoch
{figures["kept_epoch"]}."""


def _unlabelled(record: Mapping[str, Any]) -> str:
    if not record["unlabelled_files"]:
        return ""
    count = record["figures"]["unlabelled_pairs"]
    return f",\nand {count:,} that teachers answered, of {_files(record, 'unlabelled')}"


def _test(figures: Mapping[str, Any]) -> str:
    if "test" not in figures:
        return ""
    test = figures["test"]
    names = ", ".join(test["files"])
    return (
        f"\n\nOn {test['pairs']:,} pairs of {names}, which chose nothing:"
        f" **accuracy {test['accuracy']:.4f}**."
    )


def _files(record: Mapping[str, Any], part: str) -> str:
    return ", ".join(record[f"{part}_files"])


def _shown(value: Any) -> str:
    """Format an option: an adapter by the start of its digest, a teacher by its weights."""
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value) or "none"
    if isinstance(value, Mapping):
        if "model" in value:
            return f"{value['model']} ({value['weights']})"
        return f"adapter `{value['sha256'][:12]}` (seed {value['plan']['seed']})"
    return "none" if value is None else str(value)


def _confusion(quality: LabelQuality, labels: Sequence[str]) -> Figure:
    figure, axes = _drawing(SQUARE)
    confusion = quality.confusion
    share = confusion / confusion.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in _cells(confusion):
        colour = "white" if share[row, column] > 0.5 else "black"  # noqa: PLR2004 - half as dark
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8, rotation=90, va="center")
    axes.set(xlabel="answered", ylabel="true")
    return figure


def _cells(confusion: Any) -> Any:
    return (
        ((row, column), count)
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
    )


def _reliability(calibration: Calibration) -> Figure:
    figure, axes = _drawing(SQUARE)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    drawn = (
        (calibration.before, calibration.error_before, BEFORE, "as trained"),
        (calibration.after, calibration.error_after, AFTER, "with temperature"),
    )
    for bins, error, colour, name in drawn:
        axes.plot(
            [one.confidence for one in bins],
            [one.accuracy for one in bins],
            color=colour,
            marker="o",
            markersize=4,
            label=f"{name}: error {error:.3f}",
        )
    _share_axis(axes, calibration.after)
    axes.set(xlabel="largest score", ylabel="share of right answers")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _share_axis(axes: Any, bins: Sequence[Bin]) -> None:
    """Draw the number of answers of each confidence as bars at the bottom."""
    total = sum(one.count for one in bins)
    axes.bar(
        [one.confidence for one in bins],
        [one.count / total for one in bins],
        width=0.03,
        color=AFTER,
        alpha=0.25,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _curve(log: Sequence[Mapping[str, Any]]) -> Figure:
    figure, axes = _drawing(WIDE)
    trained = [line for line in log if "loss" in line]
    measured = [line for line in log if "validation_accuracy" in line]
    axes.plot([line["step"] for line in trained], [line["loss"] for line in trained], color=BEFORE)
    axes.set(xlabel="step", ylabel="training loss")
    other = axes.twinx()
    other.plot(
        [line["step"] for line in measured],
        [line["validation_accuracy"] for line in measured],
        color=AFTER,
        marker="o",
    )
    other.set_ylabel("validation accuracy", color=AFTER)
    return figure


def _drawing(size: tuple[float, float]) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
