"""Logs as lines for people or JSON for programs: digests and lengths, never a text or a key.

The project's modules log through ``logging``; structlog renders the records.
"""

from __future__ import annotations

import logging.config
from collections.abc import MutableMapping
from typing import Any, Final, Literal

import structlog

from sayonce.observe import request_id

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]


def configure(log_format: Format, level: Level) -> dict[str, Any]:
    """Set up this process's logging, and return the configuration for ``logging.config.dictConfig``."""
    config = logging_config(log_format, level)
    logging.config.dictConfig(config)
    return config


def logging_config(log_format: Format, level: Level) -> dict[str, Any]:
    """Return the configuration for ``logging.config.dictConfig``: our loggers at ``level``, all others' warnings."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": "sayonce.observe.logs.formatter", "log_format": log_format}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"sayonce": {"level": level.upper()}},
    }


_OF_REQUESTS: Final = frozenset(("sayonce.request", "sayonce.gateway", "uvicorn.error"))
"""Loggers whose lines are about the request under way; other work of the same task may outlive it by far."""


def _with_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    found = request_id.current.get()
    if found and event.get("logger") in _OF_REQUESTS:
        event["request_id"] = found.decode("ascii")
    return event


_SHARED: Final[tuple[Any, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    _with_request_id,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def formatter(log_format: Format) -> logging.Formatter:
    """Return the formatter that renders records with their ``extra`` fields."""
    ends: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        ends += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks: the rich ones show the values of variables, and so texts.
        ends.append(structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback))
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=ends)
