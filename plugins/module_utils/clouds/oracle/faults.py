# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes wrong between here and the cloud, in one sentence; and a request that is made again where that may help."""

from __future__ import annotations

import email.utils
import random
import re
import socket
import ssl
import time
from urllib.parse import urlsplit

from ...common import advice
from ...common.errors import ImageError, from_os_error
from ...common.retry import retry
from . import sdk

RETRY_SECONDS = 300                        # that a request is made again in, unless told otherwise
_CONNECT_SECONDS = 60                      # the same, where no connection comes about: an address may just be wrong
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20     # seconds between two attempts
_SKEW = 290                                # seconds between two clocks; the cloud allows 300
_LONGEST_MESSAGE = 500                     # characters

#: faults that pass though their status does not say so: the bytes were damaged on their way
_PASSING_CODES = ("UnmatchedContentMD5",)
_LIMIT_CODES = ("LimitExceeded", "QuotaExceeded", "TooManyBuckets")
#: what must not be in a message: the token of a pre-authenticated request, the signature and key of a request, the login of a proxy
_SECRET = tuple(re.compile(text) for text in (
    r"(/p/)[^/\s]{8,}(?=/)", r"(?i)(signature=\"|keyId=\"ST\$|opc-obo-token[\"': ]+)[^\"'\s]+", r"(://)[^/\s@]+(?=@)"))

_CREDENTIALS = "check api_user, api_user_fingerprint, api_user_key_file and tenancy: they belong together, and the key is one of that " \
               "user's API keys; a session token may have expired (oci session refresh)"
_POLICIES = "check its name or OCID, compartment and region, and that a policy gives this user access to it"
_LIMITS = "remove what is not needed any more, or ask for a higher limit (console: Limits, Quotas and Usage)"
_ENDPOINT = "check region, service_endpoints, proxy and the network"


class CloudFault(ImageError):
    """An answer of the cloud other than success, or none at all.

    status, code: of the answer (404, "BucketNotFound"); None where there was none. opc_request_id: what Oracle's support asks for.
    passing: whether the same request may succeed soon. retry_after: seconds that the cloud wants to be left in peace, or None.
    connecting: no connection came about.
    """

    def __init__(self, what, where=None, todo=None, status=None, code=None, message=None, opc_request_id=None, passing=False, retry_after=None,
                 connecting=False):
        super().__init__(what, where, todo, status=status, code=code, message=message, opc_request_id=opc_request_id)
        self.status, self.code, self.opc_request_id = status, code, opc_request_id
        self.passing, self.retry_after, self.connecting = passing, retry_after, connecting

    @property
    def missing(self):
        """Whether what was asked for is not there, or not for this user: the cloud does not say which."""
        return self.status == 404


def redact(text):
    """A text without tokens, signatures and logins, on one line."""
    for pattern in _SECRET:
        text = pattern.sub(r"\1***", text)
    return " ".join(text.split())


def call(function, *args, doing, where=None, retry_seconds=RETRY_SECONDS, found=None, sleep=None, **more):
    """function(*args, **more), a method of a client of the SDK, and again after faults that may pass. Raises CloudFault, ImageError.

    doing: what for, for the sentence of a fault ("creating the bucket"). where: what it is about. retry_seconds: how long it is tried.
    found: asked before each further attempt whether the deed is done and only its answer was lost; what it returns but None is the answer.
    sleep(seconds): instead of time.sleep; it may raise to end the attempts.
    """
    failed, wait = [], [None]

    def attempt():
        if failed and found:
            answer = found()
            if answer is not None:
                return answer
        try:
            return function(*args, **more)
        except ImageError:
            raise
        except Exception as error:
            fault = of(error, doing, where)
            if fault is None:
                raise
            failed.append(fault)
            # what is below may have the address of a pre-authenticated request in its words
            raise fault from None

    def left(error, _failures, seconds):
        if not getattr(error, "passing", False):
            return None
        rest = (min(retry_seconds, _CONNECT_SECONDS) if error.connecting else retry_seconds) - seconds
        wait[0] = error.retry_after
        return rest if rest > (error.retry_after or 0) else None

    def pause(seconds):
        # those who were told the same time must not come back together
        (sleep or time.sleep)(max(seconds, wait[0] * random.uniform(1, 1.25)) if wait[0] else seconds)

    return retry(attempt, left, _FIRST_PAUSE, _LONGEST_PAUSE, sleep=pause)


def pages(function, *args, doing, where=None, retry_seconds=RETRY_SECONDS, sleep=None, **more):
    """The items of a list operation of the SDK, of all its pages. Raises as call() does."""
    page = None
    while True:
        if page:
            more["page"] = page
        answer = call(function, *args, doing=doing, where=where, retry_seconds=retry_seconds, sleep=sleep, **more)
        yield from answer.data if isinstance(answer.data, list) else answer.data.items
        page = answer.headers.get("opc-next-page")
        if not page:
            return


def of(error, doing, where=None):
    """What a method of the SDK raised, as a CloudFault (ImageError for a local file); None for what is neither of the cloud nor of the way there."""
    if isinstance(error, sdk.load().exceptions.ServiceError):
        return _of_answer(error, doing, where)
    # every exception of the library that makes the requests is one
    if isinstance(error, OSError):
        if getattr(error, "filename", None):
            return from_os_error(error, doing)
        return _of_silence(error, doing, where)
    return None


# --- answers -----------------------------------------------------------------------------------------


def _of_answer(error, doing, where):
    status, code, headers = error.status, error.code if isinstance(error.code, str) else None, error.headers or {}
    message = redact(str(error.message or ""))[:_LONGEST_MESSAGE].rstrip(". ") or f"the cloud answered with HTTP status {status}"
    what, todo = f"{doing} failed: {message}", None
    if status == 401:
        what, todo = f"{doing} failed: the cloud does not accept the credentials", _CREDENTIALS
        behind = _behind(headers.get("date"))
        if behind is not None and abs(behind) > _SKEW:
            what = f"{doing} failed: the clock of this host is {_duration(abs(behind))} {'behind' if behind > 0 else 'ahead of'} that of the cloud"
            todo = "set the clock (chronyc makestep): the cloud accepts requests only within five minutes of their date"
    elif code in _LIMIT_CODES:
        what, todo = f"{doing} failed: a limit of the service is reached ({message})", _LIMITS
    elif status in (403, 404):
        if not code or "NotAuthorized" in code:
            what = f"{doing} failed: it is not there, or this user may not {'do that' if status == 403 else 'see it'}"
        todo = _POLICIES
    elif status == 409:
        todo = "wait until whoever else works on it is ready, and run the task again"
    elif status == 429:
        what, todo = f"{doing} failed: the cloud gets too many requests ({message})", "run the task again later"
    elif status >= 500:
        what, todo = f"{doing} failed: the cloud itself is in trouble (HTTP status {status}: {message})", advice.RUN_AGAIN
    elif code in _PASSING_CODES:
        todo = advice.RUN_AGAIN
    elif error.request_id:
        todo = f"Oracle's support finds the request by its opc-request-id, {error.request_id}"
    passing = status in (408, 429) or (status >= 500 and status != 501) or code in _PASSING_CODES
    return CloudFault(what, where, todo, status=status, code=code, message=message, opc_request_id=error.request_id, passing=passing,
                      retry_after=_seconds(headers.get("retry-after")))


def _behind(date):
    """How many seconds this host's clock is behind a Date header; None where that is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return None


def _duration(seconds):
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def _seconds(text):
    """Of a Retry-After header: seconds from now; None where it says nothing."""
    if text is None:
        return None
    if text.strip().isdigit():
        return int(text)
    behind = _behind(text)
    return None if behind is None else max(0, behind)


# --- no answer ---------------------------------------------------------------------------------------


def _all_of(error):
    """An exception and those that it came from, outermost first: the SDK and its libraries wrap them in several ways."""
    todo, seen = [error], []
    while todo:
        one = todo.pop(0)
        if any(one is other for other in seen):
            continue
        seen.append(one)
        inner = [*getattr(one, "args", ()), getattr(one, "reason", None), one.__cause__, one.__context__]
        todo.extend(each for each in inner if isinstance(each, BaseException))
    return seen


def _of_silence(error, doing, where):
    chain = _all_of(error)
    names = {type(each).__name__ for each in chain}

    def first(kind):
        return next((each for each in chain if isinstance(each, kind)), None)
    url = next((each.request.url for each in chain if getattr(getattr(each, "request", None), "url", None)), None)
    host = urlsplit(url).netloc.rpartition("@")[2] if url else "the cloud"
    words, todo, passing, connecting = None, _ENDPOINT, True, True
    if first(ssl.SSLCertVerificationError):
        reason = getattr(first(ssl.SSLCertVerificationError), "verify_message", None) or "it cannot be verified"
        words, todo, passing = f"the certificate of {host} is not trusted ({reason})", "name its authority's certificates with cert_bundle", False
    elif "ProxyError" in names:
        words = f"the proxy does not let us through to {host} ({redact(str(chain[-1]))})"
        todo, passing = "check proxy, and HTTPS_PROXY in the environment", "407" not in str(chain[-1])
    elif first(socket.gaierror):
        words, passing = f"the name of {host} cannot be resolved", first(socket.gaierror).errno == socket.EAI_AGAIN
    elif "WRONG_VERSION_NUMBER" in str(chain[-1]) or "HTTP_REQUEST" in str(chain[-1]):
        words, passing = f"{host} does not speak TLS", False
    elif first(ConnectionRefusedError):
        words = f"{host} refuses connections"
    elif "ConnectTimeout" in names or "ConnectTimeoutError" in names:
        words = f"{host} does not answer"
    elif "NewConnectionError" in names:
        words = f"{host} cannot be reached ({getattr(first(OSError), 'strerror', None) or redact(str(chain[-1]))})"
    else:
        connecting, todo = False, "check the network, and run the task again"
        if "ReadTimeout" in names or "ReadTimeoutError" in names or first(TimeoutError):
            words = f"{host} has been silent for too long"
        else:
            reason = redact(str(getattr(chain[-1], "strerror", None) or chain[-1]))[:200]
            words = f"the connection to {host} broke ({reason})"
    return CloudFault(f"{doing} failed: {words}", where, todo, passing=passing, connecting=connecting)
