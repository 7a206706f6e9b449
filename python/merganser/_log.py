"""What the library has to say, by way of ``logging``."""

from __future__ import annotations

import logging
import threading

from . import _merganser

__all__ = ["enable_logging"]


def enable_logging(level: int | str | None = None) -> logging.Logger:
    """Sends what the library has to say to the loggers below ``logging.getLogger("merganser")``.

    It warns of password files that it ignores, and tells at ``DEBUG`` of connections that ended.
    ``level`` is set for that logger, if it is given. To call it again does no harm.
    """
    logger = logging.getLogger("merganser")
    if level is not None:
        logger.setLevel(level)
    if _merganser.start_logging():
        threading.Thread(target=_forward, name="merganser-logging", daemon=True).start()
    return logger


def _forward() -> None:
    """Threads of the library put records into a queue, and never wait for this one."""
    while True:
        record = _merganser.next_log_record(60.0)
        if record is not None:
            level, target, message = record
            logging.getLogger(target).log(level, "%s", message)
