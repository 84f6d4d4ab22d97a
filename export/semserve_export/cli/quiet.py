"""Suppresses what native libraries print to the terminal while they load."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def choose_backend(*, trains: bool = False) -> None:
    """Set variables that Keras and TensorFlow read at import, unless the user has set them.

    Args:
        trains: let TensorFlow use the GPUs. Other commands hide them, because differences are
            measured on the CPU.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only backend that exports dynamic shapes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not trains:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@contextmanager
def held_stderr() -> Iterator[None]:
    """Buffer file descriptor 2, and print the buffer only if the block fails.

    TensorFlow writes to it, not to `sys.stderr`, before its log level takes effect.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            with os.fdopen(os.dup(kept), "wb") as stderr:
                shutil.copyfileobj(held, stderr)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
