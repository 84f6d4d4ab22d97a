"""The export stage: converts a Keras model to a bundle for semserve-server.

`semserve_export.export(model, directory)` exports a model from Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semserve_export.api import export
    from semserve_export.report import Report

__version__ = "0.1.0"
__all__ = ["Report", "export"]


def __getattr__(name: str) -> Any:
    """Import `api`, and with it Keras, when `export` is first used: the import takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from semserve_export import api, report  # noqa: PLC0415 - imports Keras

    globals().update(Report=report.Report, export=api.export)
    return globals()[name]
