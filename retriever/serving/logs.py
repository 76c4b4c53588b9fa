"""Log lines on stderr, for people or as one JSON object a line."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

FORMATS = ("text", "json")


def configure(log_format: str) -> None:
    """Send warnings of every library, and all lines of this package, to stderr.

    Args:
        log_format: ``text`` or ``json``. Values given as ``extra={"fields": {...}}`` stand behind
            the message as NAME=VALUE, or as members of the JSON object.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("retriever").setLevel(logging.INFO)


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s%(listed)s")

    def format(self, record: logging.LogRecord) -> str:
        """Put the fields behind the message."""
        record.listed = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return super().format(record)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write one object, the traceback included as a string."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(row, default=str).decode()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields
