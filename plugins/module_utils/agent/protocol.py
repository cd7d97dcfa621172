# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What both ends of the wire to an agent know: requests, headers, states, and how a refusal is told. Plain HTTP.

    GET    /v1/status
    PUT    /v1/programs/DIGEST                                      the work program, a zip file
    PUT    /v1/jobs/ID {program, interpreter, job}      DELETE      start, stop
    GET    /v1/jobs/ID/output?offset=&wait=      /v1/jobs/ID/errors
    GET    /v1/files/NAME/received?digest=&needed=                  what of it has come
    PUT    /v1/files/NAME/chunk?digest=&size=&ranges=&settled=      X-Crc32, Content-Encoding
    POST   /v1/files/NAME {size, digest, wait} or {source, digest}  all has come; or: name a file of a job
    GET    /v1/files/NAME/chunks?start=&base=                       which ranges there are to fetch
    GET    /v1/files/NAME/part?ranges=                              Accept-Encoding
    DELETE /v1/files/NAME

A file that is read may be jobs/ID/FILE too, of that job's staging folder. Every answer has X-Ocne-Agent, so that it is known from
one of a proxy; an error is {"error": ImageError}.
"""

from __future__ import annotations

from ..common.errors import ImageError

#: raised when the meaning of a request or an answer changes
PROTOCOL = 1
#: the secret that only the two ends know; the mark of an agent's own answer; of the bytes of a chunk, decoded
TOKEN_HEADER, AGENT_HEADER, CHECKSUM_HEADER = "X-Ocne-Token", "X-Ocne-Agent", "X-Crc32"
#: of a job's output: its state, its exit status once it has ended, where the next output begins (bytes)
STATE_HEADER, EXIT_HEADER, OFFSET_HEADER = "X-State", "X-Exit", "X-Offset"
RUNNING, STOPPED, DONE = "running", "stopped", "done"
#: bytes of one chunk at most, decoded
LARGEST = 16 << 20


class Refusal(ImageError):
    """An ImageError with the HTTP status it is told by."""

    def __init__(self, status, what, where=None, todo=None, **details):
        super().__init__(what, where, todo, **details)
        self.status = status

    @classmethod
    def of(cls, status, data):
        """The one whose as_dict() came with an answer of this status. Raises ValueError, KeyError, TypeError where it is none."""
        return cls(status, data["what"], data.get("where"), data.get("todo"), **(data.get("details") or {}))
