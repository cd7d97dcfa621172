# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes wrong between here and the cloud, in one sentence; and a request that is made again where that may help."""

from __future__ import annotations

from urllib.parse import urlsplit

from ...common import advice, http_faults
from ...common.errors import ImageError, from_os_error
from ...common.http_faults import CONNECT, EXCHANGE, PROXY, RETRY_SECONDS, HttpFault, persist, redact
from . import sdk

_SKEW = 290                                # seconds between two clocks; the cloud allows 300
_LONGEST_MESSAGE = 500                     # characters

_LIMIT_CODES = ("LimitExceeded", "QuotaExceeded", "TooManyBuckets")

_CREDENTIALS = "check api_user, api_user_fingerprint, api_user_key_file and tenancy: they belong together, and the key is one of that " \
               "user's API keys; a session token may have expired (oci session refresh)"
_POLICIES = "check its name or OCID, compartment and region, and that a policy gives this user access to it"
_LIMITS = "remove what is not needed any more, or ask for a higher limit (console: Limits, Quotas and Usage)"
_ENDPOINT = "check region, service_endpoints, proxy and the network"


class CloudFault(HttpFault):
    """An answer of the cloud other than success, or none at all.

    code: of the answer ("BucketNotFound"); None where there was none. opc_request_id: what Oracle's support asks for. More: HttpFault.
    """

    def __init__(self, what, where=None, todo=None, code=None, message=None, opc_request_id=None, **more):
        super().__init__(what, where, todo, code=code, message=message, opc_request_id=opc_request_id, **more)
        self.code, self.opc_request_id = code, opc_request_id

    @property
    def missing(self):
        """Whether what was asked for is not there, or not for this user: the cloud does not say which."""
        return self.status == 404


def call(function, *args, doing, where=None, retry_seconds=RETRY_SECONDS, found=None, sleep=None, **more):
    """function(*args, **more), a method of a client of the SDK, and again after faults that may pass. Raises CloudFault, ImageError.

    doing: what for, for the sentence of a fault ("creating the bucket"). where: what it is about. retry_seconds: how long it is tried.
    found: asked before each further attempt whether the deed is done and only its answer was lost; what it returns but None is the answer.
    sleep(seconds): instead of time.sleep; it may raise to end the attempts.
    """
    failed = []

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

    return persist(attempt, retry_seconds, sleep)


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
        behind = http_faults.seconds_behind(headers.get("date"))
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
    elif code == http_faults.UNMATCHED_MD5:
        todo = advice.RUN_AGAIN
    elif error.request_id:
        todo = f"Oracle's support finds the request by its opc-request-id, {error.request_id}"
    return CloudFault(what, where, todo, status=status, code=code, message=message, opc_request_id=error.request_id,
                      passing=http_faults.passes(status, code), retry_after=http_faults.retry_after(headers.get("retry-after"), headers.get("date")))


def _duration(seconds):
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


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

    url = next((each.request.url for each in chain if getattr(getattr(each, "request", None), "url", None)), None)
    host = urlsplit(url).netloc.rpartition("@")[2] if url else "the cloud"
    late = bool(names & {"ReadTimeout", "ReadTimeoutError"})
    stage = PROXY if "ProxyError" in names else CONNECT if names & {"ConnectTimeout", "ConnectTimeoutError", "NewConnectionError"} else EXCHANGE
    words, todo, passing, connecting = http_faults.silence(chain, host, stage, _ENDPOINT, late)
    return CloudFault(f"{doing} failed: {words}", where, todo, passing=passing, connecting=connecting)
