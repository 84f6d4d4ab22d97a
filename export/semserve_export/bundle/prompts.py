"""The prompts of an embedder: texts that are put before a text, as sentence-transformers does."""

from collections.abc import Mapping, Sequence

from semserve_export.errors import ExportError, WeightsError
from semserve_export.options import ModelOptions


def read_prompts(stated: Sequence[str]) -> dict[str, str]:
    """Parse the prompts of the command line, each of the form NAME=TEXT.

    Raises:
        ExportError: a prompt does not have this form, or two have the same name.
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
    """Merge the prompts of a model with those of the options.

    Args:
        options: the options; their prompts replace prompts of the model with the same name.
        found: the prompts of the model.
        default: the name of the model's default prompt.

    Returns:
        The prompts by their names (None without prompts), and the name of the default prompt.

    Raises:
        WeightsError: the default is not the name of a prompt.
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
