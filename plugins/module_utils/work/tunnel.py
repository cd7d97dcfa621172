# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Standard input and output as a connection to a port of this machine: run by exec where no other way leads into the pod."""

from __future__ import annotations

import os
import socket
import threading

_PIECE = 64 << 10    # bytes


def tunnel(port):
    """Bridge standard input and output to 127.0.0.1:port until the port's end is closed, or nobody reads the output."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send():
        try:
            while True:
                data = os.read(0, _PIECE)
                if not data:
                    break
                connection.sendall(data)
            # what is still on its way back is waited for
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass     # the other direction sees it too

    threading.Thread(target=send, daemon=True).start()
    try:
        while True:
            data = memoryview(connection.recv(_PIECE))
            if not data:
                break
            while data:
                data = data[os.write(1, data):]
    except OSError:
        pass
    os._exit(0)
