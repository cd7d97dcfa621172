# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes wrong with requests to a service by HTTPS, whoever makes them: whether it may pass, in which words, and another try."""

from __future__ import annotations

import email.utils
import math
import random
import re
import socket
import ssl
import time

from . import advice
from .errors import ImageError
from .retry import retry

RETRY_SECONDS = 300                        # that a request is made again in, unless told otherwise
_CONNECT_SECONDS = 60                      # the same, where no connection comes about: an address may just be wrong
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20     # seconds between two attempts

#: Oracle's word for bytes that were damaged on their way: its status does not say that this may pass
UNMATCHED_MD5 = "UnmatchedContentMD5"
#: where a request came to its end without an answer: at a proxy, before there was a connection, or later
PROXY, CONNECT, EXCHANGE = "proxy", "connect", "exchange"
#: what must not be in a message: the token of a pre-authenticated request, the signature and key of a request, the login of a proxy
_SECRET = tuple(re.compile(text) for text in (
    r"(/p/)[^/\s]{8,}(?=/)", r"(?i)(signature=\"|keyId=\"ST\$|opc-obo-token[\"': ]+)[^\"'\s]+", r"(://)[^/\s@]+(?=@)"))


class HttpFault(ImageError):
    """An answer other than success, or none at all.

    status: of the answer; None where there was none. passing: whether the same request may succeed soon.
    retry_after: seconds that the service wants to be left in peace, or None. connecting: no connection came about.
    """

    def __init__(self, what, where=None, todo=None, status=None, passing=False, retry_after=None, connecting=False, **details):
        super().__init__(what, where, todo, status=status, **details)
        self.status, self.passing, self.retry_after, self.connecting = status, passing, retry_after, connecting


def persist(attempt, retry_seconds=RETRY_SECONDS, sleep=None):
    """attempt(), and again after each HttpFault that may pass, for so many seconds; where no connection comes about, for a minute at most.

    Pauses grow, and are not shorter than what the service asks for. sleep(seconds): instead of time.sleep; it may raise to end the attempts.
    """
    wait = [None]

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


def redact(text):
    """A text without tokens, signatures and logins, on one line."""
    for pattern in _SECRET:
        text = pattern.sub(r"\1***", text)
    return " ".join(text.split())


# --- answers -----------------------------------------------------------------------------------------


def passes(status, code=None):
    """Whether the same request may succeed soon after an answer of this status, and of this word of the service."""
    return status in (408, 429) or (status >= 500 and status != 501) or code == UNMATCHED_MD5


def seconds_behind(date, now=None):
    """How many seconds `now` (of this host's clock, unless it is given) is behind a date as headers have it; None where that is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - (time.time() if now is None else now)
    except (TypeError, ValueError, OverflowError):
        return None


def retry_after(text, date=None):
    """Of a Retry-After header: seconds from now, also where it is a date; None where it says nothing.

    date: the answer's own Date header, by which a clock that is wrong here does no harm.
    """
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        sent = seconds_behind(date, 0)
        seconds = seconds_behind(text, sent)
        return None if seconds is None else max(0.0, seconds)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


# --- no answer ---------------------------------------------------------------------------------------


def silence(chain, host, stage, todo, late=False):
    """(words, todo, passing, connecting) of a request that got no answer.

    chain: the exception and those that it came from, the innermost last. stage: PROXY, CONNECT or EXCHANGE. todo: where no connection came about.
    late: it is known to be a time-out.
    """
    def first(kind):
        return next((each for each in chain if isinstance(each, kind)), None)
    certificate, name, last = first(ssl.SSLCertVerificationError), first(socket.gaierror), str(chain[-1])
    if certificate:
        reason = getattr(certificate, "verify_message", None) or "it cannot be verified"
        return f"the certificate of {host} is not trusted ({reason})", advice.NAME_AUTHORITY, False, True
    if stage == PROXY:
        return f"the proxy does not let us through to {host} ({redact(last)})", advice.CHECK_PROXY, "407" not in last, True
    if name:
        return f"the name of {host} cannot be resolved", todo, name.errno == socket.EAI_AGAIN, True
    if "WRONG_VERSION_NUMBER" in last or "HTTP_REQUEST" in last:
        return f"{host} does not speak TLS", todo, False, True
    if first(ConnectionRefusedError):
        return f"{host} refuses connections", todo, True, True
    late = late or first((socket.timeout, TimeoutError))
    reason = redact(str(getattr(chain[-1], "strerror", None) or last))[:200]
    if stage == CONNECT:
        return f"{host} does not answer" if late else f"{host} cannot be reached ({reason})", todo, True, True
    words = f"{host} has been silent for too long" if late else f"the connection to {host} broke ({reason})"
    return words, advice.NETWORK_AND_AGAIN, True, False
