"""semserve itself, as users start it."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from semserve.v1 import model_pb2, model_pb2_grpc

from load import wire
from load.bundle import Bundle
from load.process import StartError, running
from load.server import Server

COMMAND = (sys.executable, "-m", "semserve_server")
SERVING = "serving on "


@contextlib.contextmanager
def semserve(
    bundle: Bundle, flags: Sequence[str] = (), *, name: str = "semserve"
) -> Iterator[Server]:
    """Serve one bundle.

    Raises:
        StartError: it did not become SERVING.
    """
    command = [*COMMAND, "--models", bundle.directory, "--address", "127.0.0.1:0", *flags]
    with running(name, command) as process:
        said = process.wait_for(lambda said: SERVING in said, "banner")
        address = said.split(SERVING)[1].split(": ")[0]
        with grpc.insecure_channel(address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=10
            )
            if check.status != health_pb2.HealthCheckResponse.SERVING:
                raise StartError(f"{name} is not SERVING")
            to_serving = time.perf_counter() - process.started
            models = model_pb2_grpc.ModelServiceStub(channel)
            info = models.GetModel(model_pb2.GetModelRequest(), timeout=10).model
        yield Server(
            name=name,
            process=process,
            address=address,
            wire=wire.CLASSIFY if bundle.output == "logits" else wire.EMBED,
            item_bytes=bundle.dimensions * 4,
            facts={
                "model": info.name,
                "variant": info.variant,
                "provider": info.provider,
                "seconds_to_serving": to_serving,
                "banner": said.splitlines()[-1],
            },
        )


@contextlib.contextmanager
def semserve_of(
    bundles: Sequence[Bundle], flags: Sequence[str] = (), *, name: str
) -> Iterator[list[Server]]:
    """Serve several bundles in one process: the server once for each model, with its dialect.

    Raises:
        StartError: it did not become SERVING.
    """
    with tempfile.TemporaryDirectory() as models:
        for bundle in bundles:
            Path(models, bundle.name).symlink_to(bundle.directory.absolute())
        command = [*COMMAND, "--models", models, "--address", "127.0.0.1:0", *flags]
        with running(name, command) as process:
            said = process.wait_for(lambda said: SERVING in said, "banner")
            seconds = time.perf_counter() - process.started
            address = said.split(SERVING)[1].split(": ")[0]
            yield [
                Server(
                    name=f"{name} {bundle.name}",
                    process=process,
                    address=address,
                    wire=wire.of_model(bundle),
                    item_bytes=bundle.dimensions * 4,
                    facts={"seconds_to_serving": seconds},
                )
                for bundle in bundles
            ]


@functools.cache
def understands(flag: str) -> bool:
    """Tell whether this build of the server has a flag."""
    output = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    return flag in output
