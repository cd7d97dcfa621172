# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bodies as streams: received into a blob with its digests, sent from files; at the pace of the connection, and with its faults."""
import base64
import hashlib
import threading
import time

from .errors import ServiceError

CHUNK = 256 * 1024      # bytes
CRC32C = 0x82f63b78     # the reversed polynomial of Castagnoli (RFC 3720, appendix B.4)
MAX_BODY = 50 << 30     # bytes: of one PutObject or one part
ALGORITHMS = {'SHA256': 'opc-content-sha256', 'SHA384': 'opc-content-sha384', 'CRC32C': 'opc-content-crc32c'}


class Broken(Exception):
    """The connection ends here, by a fault or by the other side."""


class Pace:
    """Holds one connection to so many bytes a second."""

    def __init__(self):
        self._due = 0.0

    def wait(self, size, rate):
        """These bytes have moved; return when the connection may move more."""
        if rate:
            now = time.monotonic()
            self._due = max(self._due, now) + size / rate
            # short debts are cheaper to sleep together
            if self._due - now > 0.005:
                time.sleep(self._due - now)


class Crc32c:
    """CRC-32C with the interface of hashlib. In Python, so 10 MB a second or so."""

    _table = None
    _lock = threading.Lock()

    def __init__(self):
        with self._lock:
            if Crc32c._table is None:
                Crc32c._table = [self._entry(number) for number in range(256)]
        self._state = 0xffffffff

    @staticmethod
    def _entry(number):
        for _bit in range(8):
            number = number >> 1 ^ (CRC32C if number & 1 else 0)
        return number

    def update(self, data):
        """More bytes."""
        table, state = self._table, self._state
        for byte in bytes(data):
            state = table[(state ^ byte) & 0xff] ^ state >> 8
        self._state = state

    def digest(self):
        """Four bytes, the highest first."""
        return (self._state ^ 0xffffffff).to_bytes(4, 'big')


def hasher(algorithm):
    """A new hash of one of ALGORITHMS."""
    return Crc32c() if algorithm == 'CRC32C' else hashlib.new(algorithm.lower())


def text(digest):
    """As digests are spelt in headers and lists."""
    return base64.b64encode(digest).decode()


def _wanted(headers):
    """(MD5 or None, algorithm or None, its digest or None) that the client tells; ServiceError 400 for what is no digest."""
    md5 = headers.get('content-md5')
    try:
        if md5 is not None and len(base64.b64decode(md5, validate=True)) != 16:
            raise ValueError(md5)
    except ValueError as fault:
        raise ServiceError(400, 'InvalidContentMD5', "The value of the Content-MD5 header '%s' is not valid" % md5) from fault
    given = {name: headers[header] for name, header in ALGORITHMS.items() if header in headers}
    algorithm = headers.get('opc-checksum-algorithm')
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise ServiceError(400, 'MissingOrInvalidChecksumType', "The checksum algorithm '%s' is not supported" % algorithm)
    if len(given) > 1 or (given and algorithm is not None and algorithm not in given):
        raise ServiceError(400, 'MissingOrInvalidChecksum', 'Exactly one checksum, of the declared algorithm, is accepted')
    algorithm = algorithm or next(iter(given), None)
    return md5, algorithm, given.get(algorithm)


def length_of(headers):
    """Content-Length in bytes; ServiceError where it is not there or too much."""
    length = headers.get('content-length')
    if length is None or 'transfer-encoding' in headers:
        raise ServiceError(411, 'ContentLengthRequired', 'The Content-Length header is required')
    if not length.isdigit():
        raise ServiceError(400, 'InvalidContentLength', "The value of the Content-Length header '%s' is not valid" % length)
    if int(length) > MAX_BODY:
        raise ServiceError(413, 'RequestEntityTooLarge', 'The maximum size of a body is %d bytes' % MAX_BODY)
    return int(length)


def receive(request, connection, path):
    """The body into a new file; {'size', 'md5', 'algorithm', 'digest'}. ServiceError 400 where a digest differs; Broken where it stops."""
    headers, service = request.headers, request.service
    size = length_of(headers)
    wanted_md5, algorithm, wanted = _wanted(headers)
    md5, other = hashlib.md5(), hasher(algorithm) if algorithm else None
    kind = request.fault['kind'] if request.fault else None
    buffer = memoryview(bytearray(CHUNK))
    left = size
    connection.ready()
    with open(path, 'wb') as file:
        while left:
            got = connection.read_into(buffer[:min(CHUNK, left)])
            if not got:
                raise Broken('the client went away')
            service.counters.received(got)
            if left == size and kind == 'damage':
                buffer[got // 2] ^= 1
            md5.update(buffer[:got])
            if other:
                other.update(buffer[:got])
            file.write(buffer[:got])
            left -= got
            if kind == 'reset' and left <= size // 2:
                raise Broken('a fault that was asked for')
            connection.pace.wait(got, service.settings['rate'])
    made = {'size': size, 'md5': text(md5.digest()), 'algorithm': algorithm, 'digest': text(other.digest()) if other else None}
    if wanted_md5 not in (None, made['md5']):
        raise ServiceError(400, 'UnmatchedContentMD5', 'The computed MD5 of the request body (%s) does not match the Content-MD5 header (%s)' % (
            made['md5'], wanted_md5))
    if wanted not in (None, made['digest']):
        raise ServiceError(400, 'MissingOrInvalidChecksum', 'The computed %s of the request body (%s) does not match the %s header (%s)' % (
            algorithm, made['digest'], ALGORITHMS[algorithm], wanted))
    return made


def send(answer, request, connection):
    """Bytes first..first+count of the files, one after the other."""
    first, left = answer.span
    total = left
    kind = request.fault['kind'] if request.fault else None
    for path in answer.files:
        size = path.stat().st_size
        if first >= size:
            first -= size
            continue
        with open(path, 'rb') as file:
            file.seek(first)
            first = 0
            while left:
                data = file.read(min(CHUNK, left))
                if not data:
                    break
                if kind == 'reset' and left <= total // 2:
                    raise Broken('a fault that was asked for')
                connection.write(data)
                left -= len(data)
                connection.pace.wait(len(data), request.service.settings['rate'])
