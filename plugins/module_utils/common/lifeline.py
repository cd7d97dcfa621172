# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stopping in time: signals, and a standard output that nobody reads any more.

A process that ansible-playbook started is orphaned when its standard output has lost its
reader: poll(2) then reports POLLERR (pipe) or POLLHUP (terminal, socket). That is true for
local, ssh and become alike, and false for `async` tasks, whose wrapper goes on reading.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time

from .errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.01   # seconds until Interrupted is raised again where Python had to drop it


class Lifeline:
    """While entered, SIGINT, SIGTERM, SIGHUP and a lost reader raise Interrupted in the main thread.

    on_stop runs in a thread of its own as soon as the event is seen, also while the main thread
    is inside a C call that does not return (launching an appliance); it should end what the
    main thread waits for. After the first event further ones are ignored, so that cleaning up is left in peace.

    Where the event falls into code whose exceptions Python drops (a finalizer, the callback of a weak reference), or a library in C prints
    (a callback of libguestfs), it is raised again.
    """

    def __init__(self, on_stop=None, output=1):
        self._on_stop, self._output = on_stop, output
        self._saved, self._thread, self._why, self._lost = {}, None, None, False
        self._saved_hooks, self._dropped = None, False

    def __enter__(self):
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)
        self._quit_reader, self._quit_writer = os.pipe()
        self._saved_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGTERM:
                self._saved[number] = signal.signal(number, self._handle)
        self._saved_hooks = sys.unraisablehook, sys.excepthook
        sys.unraisablehook, sys.excepthook = self._drop, self._print
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        os.write(self._quit_writer, b"q")
        self._thread.join()
        sys.unraisablehook, sys.excepthook = self._saved_hooks
        signal.set_wakeup_fd(self._saved_wakeup)
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        for fd in (self._reader, self._writer, self._quit_reader, self._quit_writer):
            os.close(fd)

    @property
    def stopped(self):
        """Why this process was told to stop, or None."""
        return self._why

    def _handle(self, number, frame):
        if self._why is None:
            self._why = "nobody reads its output any more" if self._lost else f"received {signal.Signals(number).name}"
        elif not self._dropped:
            return
        self._dropped = False
        raise Interrupted(self._why)

    def _drop(self, unraisable):
        """Called by Python with an exception that it cannot raise."""
        if not self._again(unraisable.exc_value):
            self._saved_hooks[0](unraisable)

    def _print(self, kind, error, trace):
        """Called by Python with an exception that a library in C does not let through."""
        if not self._again(error):
            self._saved_hooks[1](kind, error, trace)

    def _again(self, error):
        """Have an Interrupted raised again; returns whether it is one."""
        if not isinstance(error, Interrupted):
            return False
        # raised from here it would be dropped too
        self._dropped = True
        os.write(self._writer, b"\0")
        return True

    def _watch(self):
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(self._quit_reader, select.POLLIN)
        poll.register(self._output, 0)
        done = False
        while True:
            for fd, _event in poll.poll():
                if fd == self._quit_reader:
                    return
                if fd == self._output:
                    poll.unregister(fd)
                    self._lost = True
                    os.kill(os.getpid(), signal.SIGTERM)
                elif fd == self._reader:
                    numbers = os.read(self._reader, 512)
                    if 0 in numbers:
                        time.sleep(_AGAIN)
                        os.kill(os.getpid(), signal.SIGTERM)
                    # SIGCHLD and others may share the wake-up descriptor
                    if not done and any(n in numbers for n in self._saved):
                        done = True
                        if self._on_stop:
                            self._on_stop()


def surely(clean_up):
    """clean_up(), and once more where a stop falls into it, which is raised then: it comes only once."""
    try:
        return clean_up()
    except Interrupted:
        clean_up()
        raise
