"""The export stage: a Keras model becomes a bundle that semserve serves.

`semserve_export.export(model, directory)` exports a model from Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semserve_export.api import export
    from semserve_export.report import Report

__version__ = "0.1.0"
__all__ = ["Report", "export"]


def __getattr__(name: str) -> Any:
    """Import Keras, which takes seconds, only when the call is used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from semserve_export import api, report  # noqa: PLC0415 - imports Keras

    globals().update(Report=report.Report, export=api.export)
    return globals()[name]
