# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several threads that take one piece of work after the other, while the main thread tells how far they are and can be stopped."""

from __future__ import annotations

import collections
import threading
import time

_TELL = 0.25        # seconds between two looks at how far they are
_FAREWELL = 2       # seconds for the threads to see that it is over


class Stopped(Exception):
    """In a thread of a crew: it is over."""


class Crew:
    """So many threads, each with a thing of its own (a connection), for one run() after the other.

    thing(): makes a context manager of that thing. abort(): called when it is over before its end: it ends what threads wait for.
    """

    def __init__(self, count, thing, name, abort=None):
        self._count, self._thing, self._name, self._abort = count, thing, name, abort
        self._lock, self._over, self._ended, self._fault = threading.Lock(), threading.Event(), threading.Event(), None

    # --- the main thread -----------------------------------------------------------------------------

    def run(self, items, work, tell):
        """work(thing, item) for each item, in threads; tell() every now and then, here. Raises what ended the first thread that failed.

        Whatever ends this ends the threads: one that waits for an answer may do so a little longer, but begins nothing.
        """
        todo = collections.deque(items)
        threads = [threading.Thread(target=self._thread, args=(todo, work), name=f"{self._name}-{number}", daemon=True)
                   for number in range(min(self._count, len(todo)))]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                # a signal that comes just before this waits is seen only after it
                self._ended.wait(_TELL)
                self._ended.clear()
                tell()
                if self._fault:
                    break
        finally:
            self._over.set()
            if self._abort and any(thread.is_alive() for thread in threads):
                self._abort()
            deadline = time.monotonic() + _FAREWELL
            for thread in threads:
                if thread.ident:
                    thread.join(max(0, deadline - time.monotonic()))
        if self._fault:
            raise self._fault
        self._over.clear()

    # --- the threads ---------------------------------------------------------------------------------

    def check(self):
        """Called every now and then by work that takes long. Raises Stopped where it is over."""
        if self._over.is_set():
            raise Stopped

    def sleep(self, seconds):
        """A pause that ends when it is over. Raises Stopped."""
        if self._over.wait(seconds):
            raise Stopped

    def _thread(self, todo, work):
        try:
            with self._thing() as thing:
                while not self._over.is_set():
                    try:
                        item = todo.popleft()
                    except IndexError:
                        return
                    work(thing, item)
        except Stopped:
            pass
        except BaseException as error:   # pylint: disable=broad-exception-caught
            with self._lock:
                # those after the first one may come of being ended
                if not self._over.is_set():
                    self._fault = self._fault or error
        finally:
            self._ended.set()


class Tally:
    """How far pieces are that several threads do, each of them perhaps more than once."""

    def __init__(self):
        self._lock, self._done = threading.Lock(), {}

    def set(self, piece, count):
        """So much of a piece is done."""
        with self._lock:
            self._done[piece] = count

    def add(self, piece, count):
        """So much more of a piece is done."""
        with self._lock:
            self._done[piece] = self._done.get(piece, 0) + count

    @property
    def total(self):
        """Of all pieces."""
        with self._lock:
            return sum(self._done.values())
