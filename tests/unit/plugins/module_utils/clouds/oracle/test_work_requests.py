# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work requests to their end, before the lab's endpoint."""

from __future__ import annotations

import signal
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import work_requests
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.common.errors import Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, describe

pytest.importorskip("oci.core", reason="the SDK of Oracle's cloud (oci) is not installed")


class Clock:
    """Time that passes only in pauses."""

    def __init__(self):
        self.now, self.pauses = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def test_patience_asks_every_interval_and_as_the_service_says():
    clock = Clock()
    patience = work_requests.Patience(30, 10, clock, clock.sleep)
    assert patience.left == 30
    patience.pause()
    patience.pause(at_least=15)
    patience.pause()
    assert (clock.pauses, patience.left) == ([10, 15, 5], 0)


def test_an_import_is_followed_with_percent(cloud, session, start, patience):
    cloud.control.set(import_seconds=3)
    events = []
    image, request = start()
    done = work_requests.follow(session, request, patience(), Progress(events.append, interval=0), image=image)
    assert done == {"id": request, "operation": "CreateImage", "status": "SUCCEEDED", "percent": 100.0}
    assert {(event["phase"], event["total"], event["unit"]) for event in events} == {("importing the image", 100, "percent")}
    percents = [event["done"] for event in events]
    assert percents == sorted(percents) and percents[-1] == 100 and len(set(percents)) > 3
    assert describe(events[-1]).startswith("importing the image: 100 %")


def test_the_service_says_when_to_ask_again(cloud, session, start):
    cloud.control.set(import_seconds=1.5)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        time.sleep(seconds)
    work_requests.follow(session, start()[1], work_requests.Patience(30, 0.01, sleep=sleep))
    assert set(waited) == {1.0}


def test_the_service_says_it_by_a_date_of_its_own_clock(cloud, session, start):
    cloud.control.set(import_seconds=1.5, retry_after_dates=True, clock_offset=200)
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        time.sleep(seconds)
    work_requests.follow(session, start()[1], work_requests.Patience(30, 0.01, sleep=sleep))
    # dates have whole seconds, of which one may pass on the way
    assert 1.0 in waited and set(waited) <= {0.01, 1.0}


@pytest.mark.parametrize("outcome, told", [("FAILED", "failed: Image import failed, as the test asked for; see the log lines"),
                                           ("CANCELED", "was cancelled: Image import was canceled; see the log lines")])
def test_an_end_that_is_none(cloud, session, start, patience, outcome, told):
    cloud.control.set(import_outcome=outcome, page_size=1)
    image, request = start()
    with pytest.raises(work_requests.Ended) as caught:
        work_requests.follow(session, request, patience(), image=image)
    assert f"{image}: importing the image {told}" in str(caught.value)
    details = caught.value.details
    assert (details["work_request"], details["image"], details["status"]) == (request, image, outcome)
    # all pages, in their order
    lines = [entry["message"] for entry in details["logs"]]
    assert lines[:2] == ["Image import has started.", "The object is being read."] and len(lines) == 3
    assert [entry["code"] for entry in details["errors"]] == (["ImageImportFailed"] if outcome == "FAILED" else [])


def test_a_failure_is_told_without_its_reasons_where_they_cannot_be_had(cloud, session, start, patience, monkeypatch):
    cloud.control.set(import_outcome="FAILED")
    image, request = start()
    monkeypatch.setattr(cloud.work.__class__, "list_work_request_errors", refuse)
    monkeypatch.setattr(cloud.work.__class__, "list_work_request_logs", refuse)
    with pytest.raises(work_requests.Ended) as caught:
        work_requests.follow(session, request, patience(), image=image)
    assert str(caught.value) == f"{image}: importing the image failed." and caught.value.details["logs"] == []


def refuse(*_args, **_kwargs):
    import oci
    raise oci.exceptions.ServiceError(404, "NotAuthorizedOrNotFound", {}, "not for you")


def test_who_runs_out_of_time_goes_on_waiting_later(cloud, session, start, patience):
    cloud.control.set(import_seconds=10)
    image, request = start()
    with pytest.raises(work_requests.NotYet) as caught:
        work_requests.follow(session, request, patience(2), image=image)
    cloud.control.set(import_seconds=0.1)
    details = caught.value.details
    assert (details["work_request"], details["image"], details["status"]) == (request, image, "IN_PROGRESS") and 0 < details["percent"] < 100
    assert "% after 2 s, and goes on in the cloud; run the task again" in str(caught.value) and image in str(caught.value)
    assert work_requests.follow(session, details["work_request"], patience())["status"] == "SUCCEEDED"


def test_no_time_at_all_asks_once(cloud, session, start, patience):
    cloud.control.set(import_seconds=10)
    _image, request = start()
    cloud.control.forget()
    with pytest.raises(work_requests.NotYet):
        work_requests.follow(session, request, patience(0))
    assert cloud.control.counters()["operations"] == {"get_work_request": 1}


def test_faults_that_pass_do_not_end_the_waiting(cloud, session, start, patience):
    image, request = start()
    cloud.control.faults(*({"kind": kind, "times": 1, "operations": ["get_work_request"]} for kind in ("503", "reset")))
    assert work_requests.follow(session, request, patience(), image=image)["status"] == "SUCCEEDED"


def test_a_fault_that_stays_tells_what_to_wait_for(cloud, session, start, patience):
    image, request = start()
    cloud.control.faults({"kind": "503", "share": 1, "operations": ["get_work_request"]})
    with pytest.raises(CloudFault) as caught:
        work_requests.follow(session, request, patience(0), image=image)
    assert (caught.value.details["work_request"], caught.value.details["image"]) == (request, image)


def test_a_stop_passes_at_once(cloud, session, start):
    cloud.control.set(import_seconds=5)
    _image, request = start()

    def stop(_number, _frame):
        raise Interrupted("the test said so")
    before = signal.signal(signal.SIGALRM, stop)
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    try:
        with pytest.raises(Interrupted):
            work_requests.follow(session, request, work_requests.Patience(60, 30))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 5


def test_the_work_request_of_an_image_is_found(cloud, session, start):
    image, request = start()
    assert work_requests.latest(session, cloud.compartment, image) == request
    assert work_requests.latest(session, cloud.compartment, "ocid1.image.oc1..none") is None
