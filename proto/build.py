"""Builds the Python stubs and the protoset from the schema, with the locked compilers.

The compiler is in an environment of its own, `.tools/proto`, which `make proto` makes: its stubs
run beside older and newer protobuf and grpcio than those of this environment.

Path, package and import are one: `proto/semserve/v1/x.proto` becomes `semserve/v1/x_pb2.py`, so
nothing generated is ever rewritten.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import google.rpc

SCHEMA = Path(__file__).parent
COMPILER = SCHEMA.parent / ".tools" / "proto" / "bin" / "python"
SOURCES = sorted(str(path.relative_to(SCHEMA)) for path in SCHEMA.rglob("semserve/**/*.proto"))
FACADES = ["inference/grpc_service.proto", "tei/v1/tei.proto", "openai/v1/embeddings.proto"]
"""Schemas of other platforms, which the server alone speaks."""


def build(stubs: Path, protoset: Path, facades: Path) -> None:
    """Write the stubs, and one descriptor set of ours with all imports.

    Args:
        stubs: directory of the stubs of ours.
        protoset: file of the descriptor set.
        facades: directory of the stubs of other platforms' schemas.
    """
    compile_schema(f"--python_out={facades}", f"--mypy_out=quiet:{facades}", sources=FACADES)
    compile_schema(
        f"--python_out={stubs}",
        f"--grpc_python_out={stubs}",
        f"--mypy_out=quiet:{stubs}",
        f"--mypy_grpc_out=quiet:{stubs}",
        f"--descriptor_set_out={protoset}",
        "--include_imports",
    )


def compile_schema(*outputs: str, sources: Sequence[str] = SOURCES) -> None:
    """Run protoc over files of the schema.

    Raises:
        SystemExit: protoc refused the schema; it has said why on standard error.
    """
    includes = [SCHEMA, Path(next(iter(google.rpc.__path__))).parents[1]]
    # The mypy plugins are beside this interpreter, which need not be on PATH.
    plugins = [
        f"--plugin=protoc-gen-{name}={Path(sys.executable).parent / f'protoc-gen-{name}'}"
        for name in ("mypy", "mypy_grpc")
    ]
    if not COMPILER.exists():
        raise SystemExit(f"{COMPILER} is missing: run `make proto`, which installs it")
    # It finds google/protobuf/*.proto by itself.
    command = [str(COMPILER), "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes)]
    failed = subprocess.run([*command, *plugins, *outputs, *sources], check=False).returncode
    if failed:
        raise SystemExit(failed)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
