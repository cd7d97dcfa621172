# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sending a file in parts to an address that needs no credential: through a pre-authenticated request of Oracle's Object Storage, say.

Whoever asks for it makes the request, begins the upload, and completes it; here only the parts are PUT, from where the file is:

    share = storage.share(bucket, name, "ObjectWrite", seconds, label)
    upload_id, url = storage.begin_shared(bucket, share)
    part_size = upload.part_size_of(size)
    result = builder.run(Job("send", {"src": path, "read_path": held.read_path, "src_format": "qcow2", "url": url, "part_size": part_size,
                                      "size": size, "there": send.described(storage.parts(bucket, name, upload_id))}, ""), on_event)
    upload.complete(storage, bucket, name, upload_id, size, send.numbered(result.values["md5s"]))
    storage.unshare(bucket, share.identity)

The URL is a secret: it is in the Job (standard input) and in requests, and in nothing that is told. values: md5s and etags, {number: text} (numbers are
text in JSON: numbered()), md5s of all parts in base64, etags of those that were sent; sent and kept, bytes. Progress is in bytes, of the phase "uploading".

After a fault or a stop, also that of kill -9, what the service has stays there: the same Job again, with the same URL and what the service lists now as
`there`, sends the rest. An answer of 401, 403 or 404 says that the URL is not good any more; details["status"] and ["code"] have what the service said,
and only a new share and a new upload go on. A source in a builder pod is named as that of any other kind: workspace:NAME, or by a path of the module host
whose file the pod has, or is sent; ca_cert, too, is brought there. No staging folder is used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json

from ..common import advice, http_faults, https
from ..common.crew import Crew, Tally
from ..common.errors import ImageError
from ..common.http_faults import UNMATCHED_MD5, HttpFault
from ..files.parts import Parts
from . import job as wire

READS_ONLY = False   # whether it makes nothing, in any mode

_LONGEST_MESSAGE = 300   # characters
_GONE = (401, 403, 404)
_UPLOAD_GONE = ("UploadNotFound", "NoSuchUpload")


@dataclasses.dataclass
class Options:
    src: str
    url: str = dataclasses.field(repr=False)   # part N goes to this and N; a secret
    part_size: int             # bytes of each part but the last one
    size: int                  # bytes of the file
    src_format: str = None     # of a disk image: then a pod may have it from where it came from, as any other source
    there: dict = dataclasses.field(default_factory=dict)   # {number: [size, md5]} of what the service has: what is the same is not sent
    parallel: int = 8          # connections
    connect_timeout: float = 10    # seconds, of silence
    read_timeout: float = 60
    retry_seconds: float = http_faults.RETRY_SECONDS    # that each part is tried again in, after faults that may pass
    ca_cert: str = None        # the only authorities to trust: a file of the module host, or PEM text
    proxy: str = dataclasses.field(default=None, repr=False)   # http://...; without it what the environment says where the work is done
    read_path: str = None      # where to read the source, if not at src (artifact.source.HeldOpen)


def needs_guestfs(_options):
    """Whether the libguestfs binding is used."""
    return False


def inputs(options):
    """The files of the module host that the options name: a list of job.Input."""
    found, ca_cert = [wire.Input(options, "src", options.get("src_format"), named=True)], options.get("ca_cert")
    return found + ([wire.Input(options, "ca_cert")] if ca_cert and not https.is_pem(ca_cert) else [])


def base_of(_options, _name):
    """The image, as an Input's path, that an artifact differs little from, or None."""
    return None


def described(parts):
    """{number: part}, each with size and md5, as the option `there` has them."""
    return {number: [part.size, part.md5] for number, part in parts.items()}


def numbered(values):
    """{number: text} of a Result, whose numbers came as text."""
    return {int(number): value for number, value in values.items()}


def run(job, progress):
    """Makes no artifact; values: md5s, etags, sent, kept, as above. With job.check nothing is sent, and `sent` is what would be. Raises ImageError."""
    options = wire.load_options(Options, job.options)
    sender = _Sender(options, job.check)
    with sender.parts:
        return wire.Result(values=sender.run(progress))


class _Sender:

    def __init__(self, options, check):
        self._options, self._check, self._tally = options, check, Tally()
        self._there = {int(number): tuple(about) for number, about in options.there.items()}
        self._server = https.Server(options.url, options.ca_cert, options.proxy, options.connect_timeout, options.read_timeout,
                                    "check region, service_endpoints and proxy, and the network where the image work runs")
        # connections, {number: md5}, {number: etag}, {number: bytes} of those that the service had
        self._clients, self._md5s, self._etags, self._kept = [], {}, {}, {}
        self._crew = Crew(options.parallel, self._client, "send", self._abort)
        self.parts = Parts(options.read_path or options.src, options.src, options.part_size, self._crew.check)
        if self.parts.size != options.size:
            self.parts.close()
            raise ImageError(f"the file changed before it was sent: it has {self.parts.size} bytes, not {options.size}", options.src,
                             advice.RUN_AGAIN_UNDISTURBED)

    @contextlib.contextmanager
    def _client(self):
        client = https.Client(self._server)
        self._clients.append(client)
        try:
            yield client
        finally:
            client.close()

    def _abort(self):
        for client in list(self._clients):
            client.abort()

    def run(self, progress):
        size = self.parts.size
        progress.phase("uploading", size)
        self._crew.run(self.parts.numbers, self._work, lambda: progress.update(self._tally.total))
        self.parts.must_be_unchanged()
        progress.finish()
        kept = sum(self._kept.values())
        return {"md5s": self._md5s, "etags": self._etags, "sent": size - kept, "kept": kept}

    # --- the threads ---------------------------------------------------------------------------------

    def _work(self, client, number):
        md5, size = self.parts.md5(number), self.parts.span(number)[1]
        if self._there.get(number) == (size, md5):
            self._kept[number] = size
        elif not self._check:
            self._etags[number] = http_faults.persist(lambda: self._send(client, number, md5), self._options.retry_seconds, self._crew.sleep)
        self._md5s[number] = md5
        self._tally.set(number, size)

    def _send(self, client, number, md5):
        """One attempt; the part's ETag. Raises HttpFault, ImageError."""
        self._tally.set(number, 0)
        try:
            answer = client.put(f"{self._server.path}{number}", self._pieces(number), self.parts.span(number)[1], {"Content-MD5": md5})
            if answer.status >= 300:
                raise self._refusal(answer, number, md5)
            if answer.headers.get("opc-content-md5") != md5:
                raise HttpFault("it did not arrive as it was sent", todo=advice.RUN_AGAIN, passing=True)
            return answer.headers.get("etag")
        except HttpFault as fault:
            self._tally.set(number, 0)
            what = f"sending part {number} of {self.parts.count} failed: {fault.what}"
            raise HttpFault(what, self._options.src, fault.todo, passing=fault.passing, retry_after=fault.retry_after, connecting=fault.connecting,
                            **fault.details) from None

    def _pieces(self, number):
        for piece in self.parts.pieces(number):
            yield piece
            self._tally.add(number, len(piece))

    def _refusal(self, answer, number, md5):
        """The HttpFault of an answer other than success. Raises ImageError where the file is the cause."""
        status, headers = answer.status, answer.headers
        code, message = _words(answer.body)
        told, todo = ", ".join(filter(None, (f"HTTP status {status}", code, message))), advice.RUN_AGAIN
        if code == UNMATCHED_MD5:
            self.parts.must_have(number, md5)
            what = "it was damaged on its way"
        elif code in _UPLOAD_GONE:
            what = f"the upload is not there any more: it was completed or given up ({told})"
        elif status in _GONE:
            what = f"the pre-authenticated request is not good any more: it has expired or was removed ({told})"
        elif status == 429:
            what = f"the service gets too many requests ({told})"
        elif status >= 500:
            what = f"the service itself is in trouble ({told})"
        else:
            what, todo = f"the service does not take it ({told})", None
        return HttpFault(what, None, todo, status=status, passing=http_faults.passes(status, code), code=code, message=message,
                         retry_after=http_faults.retry_after(headers.get("retry-after"), headers.get("date")),
                         opc_request_id=headers.get("opc-request-id"))


def _words(body):
    """(code, message) of a refusal, as far as it has any; nothing secret is in them."""
    try:
        data = json.loads(body)
        found = [data.get(key) for key in ("code", "message")]
    except (ValueError, AttributeError):
        # a page of something in between
        return None, None
    return tuple(http_faults.redact(text)[:_LONGEST_MESSAGE].rstrip(". ") or None if isinstance(text, str) else None for text in found)
