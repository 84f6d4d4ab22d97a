# ruff: noqa: D417, T201 - shared flags tell about themselves; a command speaks by printing
"""The commands about the server and its models."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from cyclopts import App

from semserve.cli.app import SERVER, SERVER_FLAGS, ServerFlags, app
from semserve.cli.command_error import CommandError
from semserve.cli.output import Figures, print_json, print_results, print_table

if TYPE_CHECKING:
    from semserve import ModelInfo

models_app = App(name="models", group=SERVER)
app.command(models_app)


@models_app.default
def models(name: str = "", *, flags: ServerFlags = SERVER_FLAGS) -> None:
    """List the models with their states, or describe one.

    Args:
        name: Model to describe; for a model with the name load or unload, use --name.
    """
    with flags.client() as client:
        found = [client.model(name)] if name else client.models()
    if flags.output != "table":
        listed = [asdict(model) for model in found]
        print_results(flags.output, listed, listed, "name")
    elif name:
        print_table(["field", "value"], [(f, _words(v)) for f, v in asdict(found[0]).items()])
    else:
        rows = [
            (
                model.name,
                model.task,
                _outputs(model),
                model.max_sequence_length or None,
                model.variant,
                f"{model.state}, default" if model.is_default else model.state,
            )
            for model in found
        ]
        columns = ["name", "task", "outputs", "tokens", "variant", "state"]
        print_table(columns, rows, whole_words=True)
        for model in found:
            if model.reason:
                print(f"{model.name}: {model.reason}")


@models_app.command
def load(name: str, *, flags: ServerFlags = SERVER_FLAGS) -> None:
    """Load a bundle from the server's models directory, and return when it serves requests.

    Args:
        name: Name of the bundle's model.
    """
    flags.refuse_lists("models load")
    with flags.client() as client:
        loaded = client.load_model(name)
    if flags.output != "table":
        print_json(asdict(loaded))
    else:
        print(f"{loaded.name} is served, digest {loaded.digest[:12]}")


@models_app.command
def unload(name: str, *, flags: ServerFlags = SERVER_FLAGS) -> None:
    """Unload a model.

    Args:
        name: Name of a loaded model.
    """
    flags.refuse_lists("models unload")
    with flags.client() as client:
        client.unload_model(name)
    if flags.output != "table":
        print_json({"name": name})
    else:
        print(f"{name} is no longer served")


@app.command(group=SERVER)
def info(*, flags: ServerFlags = SERVER_FLAGS) -> None:
    """Show the server's version, its limits and its default models."""
    flags.refuse_lists("info")
    with flags.client() as client:
        found = client.server_info()
    if flags.output != "table":
        print_json(asdict(found))
        return
    rows = [
        ("version", found.version),
        *((name, Figures(value)) for name, value in found.limits.items()),
        *((f"default for {task}", model) for task, model in found.default_models.items()),
        ("default_top_k", Figures(found.default_top_k)),
        ("allow_model_control", found.allow_model_control),
    ]
    print_table(["field", "value"], rows)


@app.command(group=SERVER)
def health(service: str = "", *, watch: bool = False, flags: ServerFlags = SERVER_FLAGS) -> None:
    """Show whether the server, or one of its models, is ready; the exit code is 1 if not.

    Args:
        service: Name of a model.
        watch: Continue and show every change, until interrupted.
    """
    from semserve import ModelNotFound  # noqa: PLC0415 - --help needs no gRPC

    flags.refuse_lists("health")
    with flags.client(wait=0.0) as client:
        for status in client.watch(service) if watch else ():
            _print_health(service, status, flags)
        try:
            status = client.health(service)
        except ModelNotFound:
            status = "service_unknown"
        _print_health(service, status, flags)
    if status != "serving":
        raise CommandError(f"{service or 'the server'} is not ready: {status.replace('_', ' ')}")


def _print_health(service: str, status: str, flags: ServerFlags) -> None:
    if flags.output != "table":
        print_json({"service": service, "status": status})
    else:
        print(status.replace("_", " "), flush=True)


def _outputs(model: "ModelInfo") -> str | None:
    """Return the size of a model's result; None for a model that is not loaded."""
    if model.labels:
        return f"{len(model.labels)} labels"
    if model.task == "score":
        return "1 score"
    return str(model.dimensions) if model.dimensions else None


def _words(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text!r}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
