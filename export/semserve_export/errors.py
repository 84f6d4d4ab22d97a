"""What can go wrong, as the person at the terminal sees it.

ExportError            one line that says what to do; the command exits with 2
├── WeightsError       weights that are missing, damaged or of another kind
├── AdapterError       an adapter that does not fit its base
├── BundleError        a bundle that does not add up
└── FidelityError      ONNX Runtime and Keras disagree past the tolerance
"""


class ExportError(Exception):
    """The command cannot go on; the message is one line for people."""


class WeightsError(ExportError):
    """The weights are missing, damaged or not of the expected kind."""


class AdapterError(ExportError):
    """The adapter does not fit the model or the weights it was trained on."""


class BundleError(ExportError):
    """The bundle's files and its manifest do not add up."""


class FidelityError(ExportError):
    """The exported graph differs from Keras by more than the tolerance."""
