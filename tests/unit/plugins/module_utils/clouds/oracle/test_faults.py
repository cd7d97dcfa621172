# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes wrong between here and the cloud, in one sentence; and a request that is made again where that may help."""

from __future__ import annotations

import email.utils
import importlib
import socket
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import faults
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import Session
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder
oci = importlib.import_module("oci")


def answer(status, code=None, message="words of the service", **headers):
    """What the SDK raises for such an answer."""
    told_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return oci.exceptions.ServiceError(status, code, dict(told_headers, **{"opc-request-id": "ID"}), message)


def told(*args, **kwargs):
    return faults.of(answer(*args, **kwargs), "creating the bucket", "bucket b")


@pytest.mark.parametrize("status, code, words, passing", [
    (401, "NotAuthenticated", "does not accept the credentials; check api_user, api_user_fingerprint", False),
    (404, "NotAuthorizedOrNotFound", "it is not there, or this user may not see it; check its name or OCID", False),
    (404, None, "it is not there, or this user may not see it; check its name or OCID", False),
    (404, "BucketNotFound", "failed: words of the service; check its name or OCID", False),
    (403, "NotAuthorized", "this user may not do that; check its name or OCID", False),
    (409, "BucketAlreadyExists", "failed: words of the service; wait until whoever else works on it", False),
    (400, "LimitExceeded", r"a limit of the service is reached \(words of the service\); .* ask for a higher limit", False),
    (400, "QuotaExceeded", "a limit of the service is reached", False),
    (400, "InvalidParameter", "failed: words of the service; Oracle's support finds the request by its opc-request-id, ID", False),
    (400, "UnmatchedContentMD5", "failed: words of the service; run the task again", True),
    (429, "TooManyRequests", "too many requests", True),
    (500, "InternalServerError", r"the cloud itself is in trouble \(HTTP status 500: words of the service\)", True),
    (503, "ServiceUnavailable", "the cloud itself is in trouble", True),
    (501, "MethodNotImplemented", "the cloud itself is in trouble", False),
    (407, None, "failed: words of the service", False),
])
def test_an_answer_is_a_sentence(status, code, words, passing):
    fault = told(status, code)
    with pytest.raises(CloudFault, match=f"^bucket b: creating the bucket failed: .*{words.replace('failed: ', '')}"):
        raise fault
    assert (fault.status, fault.code, fault.opc_request_id, fault.passing, fault.missing) == (status, code, "ID", passing, status == 404)
    assert str(fault).count(". ") == 0 and fault.as_dict()["details"]["opc_request_id"] == "ID"


@pytest.mark.parametrize("seconds, words", [(600, "10 minutes behind that"), (-600, "10 minutes ahead of that"), (86400, "24 hours behind that")])
def test_a_clock_that_is_wrong_is_told_as_such(seconds, words):
    fault = told(401, "NotAuthenticated", date=email.utils.formatdate(time.time() + seconds, usegmt=True))
    assert f"the clock of this host is {words} of the cloud; set the clock" in str(fault)
    assert "credentials" in str(told(401, "NotAuthenticated", date=email.utils.formatdate(time.time() + 200, usegmt=True)))
    assert "credentials" in str(told(401, "NotAuthenticated", date="nonsense"))


@pytest.mark.parametrize("text, there", [
    ("GET https://h/p/AbC-dEf_123456789/n/ns/b/bu/o/x failed", "AbC"),
    ('authorization: Signature keyId="ST$eyJhbGciOiJS.eyJ.sig",signature="c2VjcmV0"', "c2VjcmV0"),
    ('authorization: Signature keyId="ST$eyJhbGciOiJS.eyJ.sig",signature="c2VjcmV0"', "eyJ"),
    ("cannot connect to proxy http://me:hunter2@proxy:3128/", "hunter2"),
])
def test_secrets_are_in_no_message(text, there):
    fault = told(400, "InvalidParameter", text)
    assert there not in str(fault) and there not in str(fault.as_dict()) and "***" in str(fault)


def test_a_message_is_one_line_of_bounded_length():
    fault = told(502, None, "<html>\n<body>\n" + "x" * 5000)
    assert "\n" not in str(fault) and len(str(fault)) < 800


def test_retry_after_is_seconds_or_a_date():
    assert told(429, "TooManyRequests", retry_after="7").retry_after == 7
    assert 100 < told(429, "TooManyRequests", retry_after=email.utils.formatdate(time.time() + 120, usegmt=True)).retry_after <= 120
    assert told(429, "TooManyRequests", retry_after="soon").retry_after is None
    assert told(429, "TooManyRequests").retry_after is None


class Service:
    """Raises these, one after the other, then answers."""

    def __init__(self, *raised):
        self.raised, self.calls = list(raised), []

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if self.raised:
            raise self.raised.pop(0)
        return "done"


def test_passing_faults_are_tried_again_with_growing_pauses():
    slept, service = [], Service(*(answer(status, "x") for status in (500, 503, 429, 500, 502)))
    assert faults.call(service, 1, doing="x", sleep=slept.append, two=2) == "done"
    assert service.calls == [((1,), {"two": 2})] * 6
    assert len(slept) == 5 and all(0.75 * pause <= seconds <= 1.25 * pause for seconds, pause in zip(slept, (0.5, 1, 2, 4, 8)))


def test_the_time_that_the_cloud_asks_for_is_kept():
    slept = []
    assert faults.call(Service(answer(429, "x", retry_after="30"), answer(429, "x")), doing="x", sleep=slept.append) == "done"
    assert 30 <= slept[0] <= 37.5 and slept[1] < 2
    with pytest.raises(CloudFault, match="too many requests"):
        faults.call(Service(answer(429, "x", retry_after="400")), doing="x", sleep=pytest.fail)


def test_others_are_not_tried_again():
    for raised, kind in ((answer(404, "x"), CloudFault), (ImageError("no"), ImageError), (ValueError("a defect"), ValueError)):
        service = Service(raised)
        with pytest.raises(kind):
            faults.call(service, doing="x", sleep=pytest.fail)
        assert len(service.calls) == 1


def test_there_is_an_end_to_it():
    service = Service(*(answer(500, "x") for _number in range(100)))
    began = time.monotonic()
    with pytest.raises(CloudFault):
        faults.call(service, doing="x", retry_seconds=1)
    assert time.monotonic() - began < 2 and 2 < len(service.calls) < 6
    service = Service(answer(500, "x"))
    with pytest.raises(CloudFault):
        faults.call(service, doing="x", retry_seconds=0)
    assert len(service.calls) == 1


def test_a_deed_whose_answer_was_lost_is_found():
    service, looked = Service(*(answer(500, "x") for _number in range(5))), [None, None, "there"]
    assert faults.call(service, doing="x", sleep=lambda seconds: None, found=lambda: looked.pop(0)) == "there"
    assert len(service.calls) == 3


def test_looking_for_it_may_fail_too():
    looked = [answer(503, "x"), "there"]

    def found():
        def look():
            one = looked.pop(0)
            if isinstance(one, Exception):
                raise one
            return one
        return faults.call(look, doing="looking", retry_seconds=0)
    service = Service(answer(500, "x"), answer(500, "x"))
    assert faults.call(service, doing="x", sleep=lambda seconds: None, found=found) == "there"
    assert len(service.calls) == 1


# --- the lab's endpoint ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["429", "500", "503", "reset", "lost_answer"])
def test_faults_of_an_endpoint(cloud, session, kind):
    cloud.control.set(retry_after=1)
    cloud.control.faults({"kind": kind, "times": 1, "operations": ["get_namespace"]})
    client, began = session.object_storage(), time.monotonic()
    assert faults.call(client.get_namespace, doing="asking for the namespace").data == cloud.namespace
    assert time.monotonic() - began > (1 if kind == "429" else 0.3)
    cloud.control.faults({"kind": kind, "times": 1, "operations": ["get_namespace"]})
    with pytest.raises(CloudFault, match="asking for the namespace failed") as caught:
        faults.call(client.get_namespace, doing="asking for the namespace", retry_seconds=0)
    assert caught.value.passing and not caught.value.connecting
    assert caught.value.status == (int(kind) if kind.isdigit() else None)


def test_silence(cloud, options):
    cloud.control.faults({"kind": "stall", "times": 1, "seconds": 3})
    client = Session(dict(options, read_timeout=1)).object_storage()
    with pytest.raises(CloudFault, match=r"localhost:\d+ has been silent for too long") as caught:
        faults.call(client.get_namespace, doing="x", retry_seconds=0)
    assert caught.value.passing
    assert faults.call(client.get_namespace, doing="x").data == cloud.namespace


def test_lists_are_of_all_pages(cloud, session):
    names = sorted(cloud.bucket() for _number in range(7))
    client = session.object_storage()
    cloud.control.set(page_size=2)
    cloud.control.faults({"kind": "503", "times": 2, "operations": ["list_buckets"]})
    found = [one.name for one in faults.pages(client.list_buckets, cloud.namespace, cloud.compartment, doing="listing buckets")]
    assert len(found) == len(set(found)) and set(names) <= set(found)


def refusing():
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("change, words, passing", [
    (lambda: {"service_endpoints": {"object_storage": f"https://localhost:{refusing()}"}}, r"localhost:\d+ refuses connections; check region", True),
    (lambda: {"cert_bundle": None}, r"the certificate of localhost:\d+ is not trusted \(.*\); name its authority's certificates", False),
    (lambda: {"proxy": f"http://me:hunter2@127.0.0.1:{refusing()}"}, r"the proxy does not let us through to localhost:\d+", True),
    (lambda: {"service_endpoints": {"object_storage": "https://nowhere.invalid"}}, "the name of nowhere.invalid cannot be resolved", None),
])
def test_an_endpoint_out_of_reach(options, change, words, passing):
    client = Session(dict(options, **change())).object_storage()
    with pytest.raises(CloudFault, match=f"^asking failed: {words}") as caught:
        faults.call(client.get_namespace, doing="asking", retry_seconds=0)
    assert passing in (None, caught.value.passing) and caught.value.connecting and caught.value.status is None
    assert "hunter2" not in str(caught.value.as_dict())


def test_an_endpoint_that_speaks_something_else(options, cloud):
    client = Session(dict(options, service_endpoints={"object_storage": cloud.about["control"].replace("http:", "https:")})).object_storage()
    with pytest.raises(CloudFault, match=r"127\.0\.0\.1:\d+ does not speak TLS"):
        faults.call(client.get_namespace, doing="asking")


def test_a_local_file_is_no_fault_of_the_cloud():
    def read():
        with open("/none", "rb"):
            pass
    with pytest.raises(ImageError, match=r"^/none: sending failed: no such file") as caught:
        faults.call(read, doing="sending")
    assert not isinstance(caught.value, CloudFault)


def test_credentials_that_are_no_good(cloud, session):
    cloud.control.set(credentials_expired=True)
    with pytest.raises(CloudFault, match="does not accept the credentials"):
        faults.call(session.object_storage().get_namespace, doing="asking")


@pytest.mark.parametrize("offset, words", [(400, "7 minutes behind"), (-400, "7 minutes ahead of")])
def test_a_clock_that_is_not_the_cloud_s(cloud, session, offset, words):
    cloud.control.set(clock_offset=offset)
    with pytest.raises(CloudFault, match=f"the clock of this host is {words} that of the cloud"):
        faults.call(session.object_storage().get_namespace, doing="asking")
