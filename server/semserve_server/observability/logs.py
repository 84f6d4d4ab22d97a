"""Log lines, as text or JSON, on standard error. Every line about a request carries its name."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from semserve_server.instrumentation.request_context import current_name
from semserve_server.observability.stderr import QueuedHandler, never_wait

Form = Literal["text", "json"]


def configure(level: str, form: Form, *, process: int | None = None) -> None:
    """Send every logger's lines of that severity and above to standard error.

    Python's warnings become such lines too. Nobody waits for whoever reads standard error; lines
    that find no room are dropped and counted.

    Args:
        level: such as `info`.
        form: text for people, json for what collects logs: one object a line.
        process: which of several processes this is; every line then tells.
    """
    never_wait()
    handler = QueuedHandler()
    if process is not None:
        handler.addFilter(partial(_of_process, process))
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


class TextFormatter(logging.Formatter):
    """Time, severity, logger, the request's name where there is one, and what happened."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(request)s%(message)s%(told)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return a line, and those of a traceback."""
        name = current_name()
        record.request = f"[{name}] " if name else ""
        record.told = "".join(f" {key}={value}" for key, value in _fields(record).items())
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One object a line, for what collects logs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if name := current_name():
            told["request_id"] = name
        told |= _fields(record)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


def _of_process(process: int, record: logging.LogRecord) -> bool:
    """Add the process to what a line tells; a filter that keeps every record."""
    vars(record)["fields"] = {"process": process} | _fields(record)
    return True


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what a line tells beside its message, by name, as `extra={"fields": …}` gave it."""
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields
