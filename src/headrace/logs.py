"""The log of the processes behind ``headrace up``: lines of text, or of JSON.

Neither holds a value of a request. What an exception says of itself may quote one, so of an
exception only its type and its frames are written, unless it comes from the operating system.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from headrace.clock import iso
from headrace.errors import HeadraceError, did_you_mean
from headrace.settings import InvalidSettingError, setting

#: What a record may carry as ``extra`` and a JSON line then shows.
FIELDS: Final = ("endpoint", "deployment", "request_id")
FORMATS: Final = ("text", "json")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class InvalidLogLevelError(HeadraceError):
    """HEADRACE_LOG is no level of a log."""

    code = "invalid_log_level"

    def __init__(self, level: str, known: Iterable[str]) -> None:
        self.level = level
        levels = sorted(name.lower() for name in known)
        super().__init__(
            f'There is no log level "{level}".',
            where="the environment variable HEADRACE_LOG",
            why=did_you_mean(level.lower(), levels) or f"known levels: {', '.join(levels)}",
            next="export HEADRACE_LOG=warning",
        )


def configure() -> None:
    """Log to standard error as ``HEADRACE_LOG`` and ``HEADRACE_LOG_FORMAT`` say.

    Raises:
        InvalidLogLevelError: there is no such level.
        InvalidSettingError: there is no such format.
    """
    level, style = setting("HEADRACE_LOG"), setting("HEADRACE_LOG_FORMAT")
    known = logging.getLevelNamesMapping()
    if level.upper() not in known:
        raise InvalidLogLevelError(level, known)
    if style not in FORMATS:
        hint = did_you_mean(style, FORMATS) or "it is text or json"
        raise InvalidSettingError("HEADRACE_LOG_FORMAT", style, hint, "json")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Whoever asks for more than warnings also gets those of libraries that models bring along,
    # and of every client that speaks no HTTP.
    more = known[level.upper()] <= logging.INFO
    for name in ("py.warnings", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING if more else logging.ERROR)
    logging.captureWarnings(True)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z WARNING headrace.serving: what happened``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:
        return _time(record)

    def formatException(self, ei: Any) -> str:
        return frames_of(ei)


class JsonLines(logging.Formatter):
    """One object a line: ``time``, ``level``, ``logger``, ``message``, and what is known."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["exception"] = frames_of(record.exc_info)
        return json.dumps(line, default=str)


def frames_of(info: _ExcInfo) -> str:
    """The frames of an exception and of its causes, without what it says of values."""
    import traceback

    kind, error, trace = info
    if kind is None or error is None:
        return ""
    lines: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(frames_of((type(cause), cause, cause.__traceback__)))
        lines.append("which led to:")
    lines.extend(line.rstrip("\n") for line in traceback.format_tb(trace))
    said = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    lines.append(f"{kind.__module__}.{kind.__qualname__}{said}")
    return "\n".join(lines)


def _time(record: logging.LogRecord) -> str:
    return iso(datetime.fromtimestamp(record.created, UTC))
