"""Log lines as text or JSON on standard error. Each line about a request has its name."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from semserve_server.instrumentation.request_context import current_name
from semserve_server.observability.stderr import QueuedHandler, make_nonblocking

Format = Literal["text", "json"]


def configure(level: str, log_format: Format, *, process: int | None = None) -> None:
    """Send the log lines of every logger to standard error, from a level up.

    Python's warnings become log lines too. No logging call waits for the reader of standard error;
    lines that do not fit the queue are dropped and counted.

    Args:
        level: such as `info`.
        log_format: text for people, json for log collectors: one object a line.
        process: index of this process among several; it is added to every line.
    """
    make_nonblocking()
    handler = QueuedHandler()
    if process is not None:
        handler.addFilter(partial(_of_process, process))
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


class TextFormatter(logging.Formatter):
    """Time, level, logger, the request's name if there is one, the message, and the fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(request)s%(message)s%(suffix)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return a line, and the lines of a traceback."""
        name = current_name()
        record.request = f"[{name}] " if name else ""
        record.suffix = "".join(f" {key}={value}" for key, value in _fields(record).items())
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if name := current_name():
            line["request_id"] = name
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _of_process(process: int, record: logging.LogRecord) -> bool:
    """Add the process to the fields of a record. A filter that keeps every record."""
    vars(record)["fields"] = {"process": process} | _fields(record)
    return True


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a record, from `extra={"fields": …}`."""
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields
