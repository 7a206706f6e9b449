"""What a signal's handler raises where no exception can pass."""

from __future__ import annotations

import _thread
import signal
from types import FrameType

__all__ = ["raise_soon"]


def raise_soon(error: BaseException) -> None:
    """Lets ``error`` be raised by the main thread once it runs Python code again.

    Through the C interface of a stream a library learns that reading failed, and not by which
    exception. SIGINT takes it further: its handler is called where the interpreter goes on.
    """
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: FrameType | None) -> None:
        # A handler that is none of Python's cannot be set by Python again.
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
        raise error

    signal.signal(signal.SIGINT, handler)
    _thread.interrupt_main()
