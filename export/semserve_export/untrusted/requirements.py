"""The first step of a command that reads an untrusted model: continue in a confined process."""

from collections.abc import Sequence
from pathlib import Path

from semserve_export.confinement.process_limits import CPU_SECONDS, Confinement, require


def read_models(
    *paths: str, writes: Sequence[Path], training: bool = False, trust: bool = False
) -> None:
    """Continue only in a confined process, with models that pass the fast checks.

    Args:
        paths: the models, as `export` takes them.
        writes: the directories that the command writes to.
        training: whether processor time is unlimited.
        trust: whether the files may contain code, which then runs in the confined process.

    Raises:
        NeedsConfinement: this process is not confined.
        WeightsError: a model is refused, before Keras is loaded.
    """
    # A path that does not exist may be the name of a preset, which KerasHub downloads.
    download = any(not Path(path).exists() and _may_be_a_name(path) for path in paths)
    written = None if download else _absolute(writes)
    require(Confinement(paths, written, download, None if training else CPU_SECONDS))
    from semserve_export.untrusted.model_checks import check_before_keras  # noqa: PLC0415 - --help waits

    for path in paths:
        check_before_keras(path, trust=trust)


def read_adapters(paths: Sequence[Path], writes: Sequence[Path]) -> None:
    """Continue only in a confined process; the base weights must already be downloaded.

    Raises:
        NeedsConfinement: this process is not confined.
    """
    require(Confinement(tuple(map(str, paths)), _absolute(writes), cpu_seconds=None))


def _may_be_a_name(path: str) -> bool:
    return "://" in path or not ("/" in path or path.endswith(".keras"))


def _absolute(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(str(path.absolute()) for path in paths)
