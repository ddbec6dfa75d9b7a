"""Whether this process was asked to end."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class _State:
    is_ending: bool = False
    installed_in: int = 0


_state = _State()


def is_ending() -> bool:
    """Whether SIGTERM has come since `notice_sigterm`."""
    return _state.is_ending


def notice_sigterm() -> None:
    """Notice SIGTERM from now on; whoever handled it before goes on doing so.

    Does nothing outside of the main thread, where Python allows no handlers.
    """
    if _state.installed_in == os.getpid() or threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is None or before in (signal.SIG_DFL, signal.SIG_IGN):
        return  # not installed from Python, or the process ends at once, or not at all
    _state.installed_in, _state.is_ending = os.getpid(), False

    def handle(number: int, frame: FrameType | None) -> None:
        _state.is_ending = True
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, handle)
