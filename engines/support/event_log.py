"""The log on standard error: text for people, or one JSON object a line, with event names, for other programs."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from datetime import datetime
from typing import Any

log = logging.getLogger(__name__)


def log_event(
    log: logging.Logger,
    level: int,
    event: str,
    message: str,
    /,
    *,
    exc_info: BaseException | None = None,
    **fields: Any,
) -> None:
    """Log something that another program may want to know of.

    Args:
        log: The logger of the module.
        level: logging.INFO and so on.
        event: A name in snake_case that never changes, such as "source_lost".
        message: What people read, with `%(name)s` where a field belongs. It may be reworded at any time.
        exc_info: The exception whose traceback is logged as well.
        fields: Members of the JSON object, with units as suffixes. What JSON does not know becomes text.
    """
    arguments = (fields,) if fields else ()  # logging formats with a dictionary only if there is something in it
    log.log(level, message, *arguments, extra={"event": event}, exc_info=exc_info, stacklevel=2)


class JsonFormatter(logging.Formatter):
    """Makes a JSON object of a record: time (ISO 8601, local, with its offset), level, logger, event, message, fields.

    `event` is null in lines that no program needs to tell apart; `exception` has the traceback where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        event = getattr(record, "event", None)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
            "message": record.getMessage(),
        }
        if event is not None and isinstance(record.args, dict):
            line |= {name: finite(value) for name, value in record.args.items() if name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def finite(value: Any) -> Any:
    """Return `value`, or None for a float that JSON cannot say: NaN and the infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Log what has ended a thread that nobody waits for, as Python itself would write it as text."""
    if failure.exc_type is not SystemExit and failure.exc_value is not None:
        name = failure.thread.name if failure.thread is not None else "?"
        message = "the %(thread)s thread has failed: %(reason)s"
        reason = f"{failure.exc_type.__name__}: {failure.exc_value}"
        log_event(log, logging.ERROR, "thread_failed", message, thread=name, reason=reason, exc_info=failure.exc_value)


def configure(level: int, log_format: str) -> None:
    """Log to standard error from now on, at `level` and above, in `log_format`, "text" or "json"."""
    root = logging.getLogger()
    logging.basicConfig(stream=sys.stderr)
    root.setLevel(level)
    for handler in root.handlers:
        if type(handler) is logging.StreamHandler:  # only the one above, and no subclass that somebody else has added
            handler.setFormatter(_formatter(log_format))
    # What Python writes to standard error by itself belongs into JSON as well.
    logging.captureWarnings(log_format == "json")
    if log_format == "json":
        threading.excepthook = log_thread_failure
    elif threading.excepthook is log_thread_failure:
        threading.excepthook = threading.__excepthook__


def _formatter(log_format: str) -> logging.Formatter:
    if log_format == "json":
        return JsonFormatter()
    return logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")


def settings() -> dict[str, Any]:
    """Return the arguments of configure() that are in force, for a child process to use as well."""
    return {"level": logging.getLogger().level, "log_format": "json" if is_json() else "text"}


def is_json() -> bool:
    """Whether the log is written as JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)
