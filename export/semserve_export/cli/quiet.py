"""Keeping what native libraries print while they load from the person at the terminal."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def choose_backend(*, trains: bool = False) -> None:
    """Set what Keras and TensorFlow read when they are first imported, where the user did not.

    Args:
        trains: leave the GPUs to TensorFlow. Every other command hides them, since fidelity is
            measured on the CPU.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only one that exports dynamic shapes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not trains:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@contextmanager
def held_stderr() -> Iterator[None]:
    """Hold back file descriptor 2, and let it out only where the block fails.

    TensorFlow writes there before its own log level is in force, past `sys.stderr`.
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
