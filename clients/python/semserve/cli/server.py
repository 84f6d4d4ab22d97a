# ruff: noqa: D417, T201 - shared flags tell about themselves; a command speaks by printing
"""The commands that ask about the server itself."""

from dataclasses import asdict

from cyclopts import App

from semserve.cli.app import ASKING, SERVER, Asking, app
from semserve.cli.failure import Failure
from semserve.cli.output import Figures, print_json, print_table

models_app = App(name="models", group=SERVER)
app.command(models_app)


@models_app.default
def models(name: str = "", *, asking: Asking = ASKING) -> None:
    """List the models with their states, or describe one.

    Args:
        name: Model to describe; one that is called load or unload goes with --name.
    """
    with asking.client() as client:
        found = [client.model(name)] if name else client.models()
    if asking.output == "json":
        print_json([asdict(model) for model in found])
    elif name:
        print_table(["field", "value"], [(f, _words(v)) for f, v in asdict(found[0]).items()])
    else:
        rows = [
            (
                model.name,
                model.task,
                model.is_default,
                model.dimensions or _words(model.labels),
                model.max_sequence_length or None,
                model.variant,
                f"{model.state}: {model.reason}" if model.reason else model.state,
            )
            for model in found
        ]
        columns = ["name", "task", "default", "dimensions or labels", "tokens", "variant", "state"]
        print_table(columns, rows)


@models_app.command
def load(name: str, *, asking: Asking = ASKING) -> None:
    """Serve a bundle of the server's models directory as it is there now, once it is warm.

    Args:
        name: Model of the bundle.
    """
    with asking.client() as client:
        loaded = client.load_model(name)
    if asking.output == "json":
        print_json(asdict(loaded))
    else:
        print(f"{loaded.name} is served, digest {loaded.digest[:12]}")


@models_app.command
def unload(name: str, *, asking: Asking = ASKING) -> None:
    """Serve a model no longer.

    Args:
        name: Model that is loaded.
    """
    with asking.client() as client:
        client.unload_model(name)
    if asking.output == "json":
        print_json({"name": name})
    else:
        print(f"{name} is no longer served")


@app.command(group=SERVER)
def info(*, asking: Asking = ASKING) -> None:
    """Tell the server's version, its limits and its default models."""
    with asking.client() as client:
        found = client.server_info()
    if asking.output == "json":
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
def health(service: str = "", *, watch: bool = False, asking: Asking = ASKING) -> None:
    """Ask whether the server, or one of its models, is ready; the exit code is 1 if not.

    Args:
        service: Model to ask after.
        watch: Go on, and tell every change, until interrupted.
    """
    from semserve import ModelNotFound  # noqa: PLC0415 - --help needs no gRPC

    with asking.client() as client:
        for status in client.watch(service) if watch else ():
            _tell(service, status, asking)
        try:
            status = client.health(service)
        except ModelNotFound:
            status = "service_unknown"
        _tell(service, status, asking)
    if status != "serving":
        raise Failure(f"{service or 'the server'} is not ready: {status.replace('_', ' ')}")


def _tell(service: str, status: str, asking: Asking) -> None:
    if asking.output == "json":
        print_json({"service": service, "status": status})
    else:
        print(status.replace("_", " "), flush=True)


def _words(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text!r}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
