# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work requests: what the cloud goes on with by itself, followed to its end."""

from __future__ import annotations

import time

from ...common.errors import ImageError
from ...common.http_faults import retry_after
from ...common.progress import silent
from . import faults

IMPORTING = "importing the image"
SUCCEEDED, FAILED, CANCELED = "SUCCEEDED", "FAILED", "CANCELED"
_ENDED = (SUCCEEDED, FAILED, CANCELED)
_NO_TIME_LEFT = 1       # seconds that a request is tried again in at least
_REASONS_SECONDS = 60   # that errors and logs are asked for
_TOLD = 3               # errors in the sentence; all are in the details


class NotYet(ImageError):
    """The time to wait is over, and the cloud goes on: who comes again goes on waiting."""


class Ended(ImageError):
    """A work request that FAILED or was CANCELED."""


class Patience:
    """How long to wait in all (seconds from now), and how often to ask (every `interval` seconds)."""

    def __init__(self, timeout, interval=10, clock=time.monotonic, sleep=time.sleep):
        self.timeout, self._interval, self._clock, self._sleep = timeout, interval, clock, sleep
        self._end = clock() + timeout

    @property
    def left(self):
        """Seconds; 0 at the end."""
        return max(0, self._end - self._clock())

    def pause(self, at_least=0):
        """Until it is time to ask again: the interval, or what the service asks for (seconds). Never beyond the end."""
        self._sleep(min(max(self._interval, at_least), self.left))


def follow(session, identity, patience, progress=None, phase=IMPORTING, image=None):
    """The work request (dictionary) when it has SUCCEEDED. Percent are told as progress of a phase of that name.

    image: the OCID of what is made, for the errors. Raises Ended with the service's own errors and log lines; NotYet with work_request, percent
    and image in the details; CloudFault.
    """
    client, progress, percent, status = session.work_requests(), progress or silent(), 0.0, None
    progress.phase(phase, 100, "percent")
    while True:
        try:
            answer = faults.call(client.get_work_request, identity, doing=f"looking how far {phase} is", where=identity,
                                 retry_seconds=max(_NO_TIME_LEFT, patience.left))
        except ImageError as error:
            # whoever comes again needs to know what to wait for
            error.details.update(work_request=identity, image=image, percent=percent)
            raise
        status, percent = answer.data.status, answer.data.percent_complete or 0.0
        if status == SUCCEEDED:
            progress.finish()
            return _described(answer.data)
        if status in _ENDED:
            raise _ended(client, answer.data, phase, image)
        progress.update(percent)
        if not patience.left:
            raise NotYet(f"{phase} is at {percent:.0f} % after {patience.timeout:.0f} s, and goes on in the cloud", image or identity,
                         "run the task again, which goes on waiting, or raise wait_timeout", work_request=identity, image=image, percent=percent,
                         status=status)
        patience.pause(retry_after(answer.headers.get("retry-after"), answer.headers.get("date")) or 0)


def latest(session, compartment, resource):
    """The OCID of the work request that works on a resource, or else of the last one that did; None where the cloud knows none. Raises CloudFault."""
    found = faults.pages(session.work_requests().list_work_requests, compartment, resource_id=resource,
                         doing="looking for the work requests of a resource", where=resource)
    best = max(found, key=lambda request: (request.status not in _ENDED, request.time_accepted), default=None)
    return best.id if best else None


def _described(request):
    return {"id": request.id, "operation": request.operation_type, "status": request.status, "percent": request.percent_complete}


def _ended(client, request, phase, image):
    """What became of it, in one sentence."""
    errors = _entries(client.list_work_request_errors, request.id)
    logs = _entries(client.list_work_request_logs, request.id)
    reasons = [entry["message"] for entry in errors] or [entry["message"] for entry in logs[-1:]]
    told = "; ".join(message.rstrip(".") for message in reasons[:_TOLD])
    became = "failed" if request.status == FAILED else "was cancelled"
    return Ended(f"{phase} {became}" + (f": {told}" if told else ""), image or request.id,
                 "see the log lines of its work request in the details" if logs else None,
                 work_request=request.id, image=image, status=request.status, percent=request.percent_complete, errors=errors, logs=logs)


def _entries(function, identity):
    """Errors or log lines in their order, as dictionaries. What cannot be had is left out: that the work has failed is the news."""
    try:
        found = list(faults.pages(function, identity, sort_order="ASC", doing="reading what the work request tells", where=identity,
                                  retry_seconds=_REASONS_SECONDS))
    except ImageError:
        return []
    return [{"time": entry.timestamp.isoformat(), "message": entry.message, **({"code": entry.code} if hasattr(entry, "code") else {})}
            for entry in found]
