# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request and its answer, as operations see them."""
import dataclasses


@dataclasses.dataclass
class Request:
    """What came in. `raw` is a body that was read at once, `receive` reads one that is streamed (see bodies.py)."""
    service: object
    region: str
    base: str
    method: str
    target: str
    path: str
    headers: dict
    id: str
    operation: str = ''
    parameters: dict = dataclasses.field(default_factory=dict)
    query: dict = dataclasses.field(default_factory=dict)
    raw: bytes = b''
    body: object = None
    principal: dict = None
    receive: object = None
    fault: dict = None


@dataclasses.dataclass
class Answer:
    """What goes out: JSON (`body`), or bytes of files (`files`: paths; `span`: first byte and number of bytes), or nothing."""
    status: int = 200
    body: object = None
    headers: dict = dataclasses.field(default_factory=dict)
    files: list = None
    span: tuple = (0, 0)
    done: object = None
