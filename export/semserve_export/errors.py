"""The errors of the export, as they are printed on the terminal.

ExportError one line that says what to do; exit code 2 ├── WeightsError weights that are missing,
damaged or of another kind ├── AdapterError an adapter that does not fit its base ├── BundleError a
bundle whose files contradict its manifest └── FidelityError ONNX Runtime and Keras differ by more
than the tolerance
"""


class ExportError(Exception):
    """The command cannot continue; the message is one line."""


class WeightsError(ExportError):
    """The weights are missing, damaged or of an unexpected kind."""


class AdapterError(ExportError):
    """The adapter does not match the model or the weights that it was trained on."""


class BundleError(ExportError):
    """The files of the bundle contradict its manifest."""


class FidelityError(ExportError):
    """The exported graph differs from Keras by more than the tolerance."""
