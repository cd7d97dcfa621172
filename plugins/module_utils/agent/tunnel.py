# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Standard input and output as a connection to a port of this machine: run by exec where no other way leads into the pod."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading

_PIECE = 256 << 10   # bytes
_PIPE = 1 << 20      # bytes: what follows reads larger pieces then, and each piece is a message
_F_SETPIPE_SZ = 1031   # linux/fcntl.h; in the module fcntl from Python 3.10 on


def tunnel(port):
    """Bridge standard input and output to 127.0.0.1:port until the port's end is closed, or nobody reads the output."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for fd in (0, 1):
        with contextlib.suppress(OSError):   # no pipe, or the user has too many of them
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE)

    def send():
        buffer = memoryview(bytearray(_PIECE))
        try:
            while True:
                count = os.readv(0, [buffer])
                if not count:
                    break
                connection.sendall(buffer[:count])
            # what is still on its way back is waited for
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass     # the other direction sees it too

    threading.Thread(target=send, daemon=True).start()
    buffer = memoryview(bytearray(_PIECE))
    try:
        while True:
            data = buffer[:connection.recv_into(buffer)]
            if not data:
                break
            while data:
                data = data[os.write(1, data):]
    except OSError:
        pass
    os._exit(0)
