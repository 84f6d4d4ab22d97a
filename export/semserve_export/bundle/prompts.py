"""The prompts of an embedder: texts that are put before a text, as sentence-transformers does."""

from collections.abc import Mapping, Sequence

from semserve_export.errors import ExportError, WeightsError
from semserve_export.options import ModelOptions


def read_prompts(stated: Sequence[str]) -> dict[str, str]:
    """Read prompts as a command line states them, each as NAME=TEXT.

    Raises:
        ExportError: one is not of this form, or two have one name.
    """
    prompts: dict[str, str] = {}
    for each in stated:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise ExportError(f"--prompt {each}: is not of the form NAME=TEXT")
        if name in prompts:
            raise ExportError(f"--prompt {name}: is there twice")
        prompts[name] = text
    return prompts


def choose_prompts(
    options: ModelOptions, found: Mapping[str, str] | None = None, default: str | None = None
) -> tuple[Mapping[str, str] | None, str | None]:
    """Join the prompts that a model names with those that the caller states.

    Args:
        options: what the caller says; a prompt of the same name takes the place of the model's.
        found: the model's own.
        default: the name of the model's default prompt.

    Returns:
        The prompts by their names, None where there are none, and the name of the default one.

    Raises:
        WeightsError: the default is none of the prompts.
    """
    if options.ignore_prompts:
        found, default = None, None
    prompts = {**(found or {}), **options.prompts}
    default = default if options.default_prompt is None else options.default_prompt or None
    if default is not None and default not in prompts:
        there = ", ".join(prompts) or "none"
        raise WeightsError(
            f"--default-prompt {default}: no prompt has this name; there are {there}"
        )
    return prompts or None, default
