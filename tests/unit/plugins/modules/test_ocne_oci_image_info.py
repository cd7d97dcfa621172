# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole module, options to answer, against the lab's endpoint. Under Ansible its target runs it (tests/integration/targets)."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from ansible.module_utils import basic

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import images
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.schemas import Schemas
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.modules import ocne_oci_image_info as module
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds import conftest as clouds
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds.oracle import conftest as oracle

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder
no_bundle, endpoint, cloud, disk, no_variables = clouds.no_bundle, clouds.endpoint, clouds.cloud, clouds.disk, clouds.no_variables
options, session, patience, place, start, imported = clouds.options, clouds.session, oracle.patience, oracle.place, oracle.start, oracle.imported


@pytest.fixture
def ask(options, monkeypatch, capsys):
    """ask(**options) -> what the module says of the lab's endpoint."""
    def run(fails=False, **more):
        arguments = {"ANSIBLE_MODULE_ARGS": dict(options, _ansible_remote_tmp="/tmp", _ansible_keep_remote_files=False,
                                                  _ansible_inject_invocation=True, **more)}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(arguments).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit) as end:
            module.main()
        answer = json.loads(capsys.readouterr().out)
        assert (bool(answer.get("failed")), bool(end.value.code), answer.get("changed", False)) == (fails, fails, False), answer
        return answer
    return run


def names(answer):
    return [image["display_name"] for image in answer["images"]]


def test_the_images_of_a_compartment(cloud, ask, session, imported):
    tags = {"ocne/architecture": "arm64", "ocne/kubernetes": "1.33", "of": "compartment"}
    first, second = imported("first", freeform_tags=tags), imported("second", freeform_tags=dict(tags, more="1"))
    Schemas(session).ensure(images.Images(session).get(second))
    cloud.control.forget()
    found = ask(compartment="images", freeform_tags={"of": "compartment"})
    assert (found["compartment_id"], [image["id"] for image in found["images"]]) == (cloud.compartment, [second, first])
    image = found["images"][0]
    assert image["freeform_tags"] == dict(tags, more="1") and "VM.Standard3.Flex" in image["shapes"]
    assert image["capability_schema"]["Compute.Firmware"] == {"values": ["UEFI_64"], "default": "UEFI_64"}
    assert (found["images"][1]["capability_schema"], image["lifecycle_state"], image["size_in_mbs"]) == (None, "AVAILABLE", 8)
    assert image["time_created"].endswith("+00:00") and image["time_created"][10] == "T"
    asked = cloud.control.counters()["operations"]
    assert [name for name in asked if not name.startswith(("get_", "list_"))] == []
    assert names(ask(compartment=cloud.compartment, display_name="first", freeform_tags={"of": "compartment"})) == ["first"]
    # YAML reads an unquoted number as one
    assert names(ask(compartment="images", freeform_tags={"of": "compartment", "more": 1})) == ["second"]
    assert names(ask(compartment="sandbox", freeform_tags={"of": "compartment"})) == []


def test_without_details_a_page_of_images_is_one_request(cloud, ask, imported):
    imported("plain", freeform_tags={"of": "page"})
    cloud.control.set(page_size=1000)
    cloud.control.forget()
    found = ask(compartment=cloud.compartment, details=False, freeform_tags={"of": "page"})
    assert names(found) == ["plain"] and not {"shapes", "capability_schema"} & set(found["images"][0])
    assert cloud.control.counters()["operations"] == {"list_images": 1}


def test_one_image_while_it_comes_and_when_it_is_gone(cloud, ask, session, start):
    cloud.control.set(import_outcome="FAILED")
    gone, _request = start("failed", freeform_tags={"of": "one"})
    deadline = time.monotonic() + 30
    while images.Images(session).get(gone)["lifecycle_state"] != "DELETED" and time.monotonic() < deadline:
        time.sleep(0.05)
    removed = ask(image_id=gone)["images"][0]
    assert (removed["lifecycle_state"], removed["shapes"], removed["capability_schema"]) == ("DELETED", [], None)
    cloud.control.set(import_seconds=60)
    image, _request = start("slow", freeform_tags={"of": "one"})
    coming = ask(image_id=image)["images"][0]
    assert (coming["shapes"], coming["capability_schema"]) == ([], None) and coming["lifecycle_state"] in images.COMING
    assert names(ask(compartment="images", lifecycle_state="AVAILABLE", freeform_tags={"of": "one"})) == []
    assert names(ask(compartment="images", freeform_tags={"of": "one"})) == ["slow"]
    assert names(ask(compartment="images", freeform_tags={"of": "one"}, lifecycle_state="DELETED")) == ["failed"]


def test_what_is_not_there_is_no_error(cloud, ask):
    there = cloud.about["region"]
    assert ask(image_id=f"ocid1.image.oc1.{there}.aaaaaaaanothing")["images"] == []
    assert ask(image_id="ocid1.image.oc1.iad.aaaaaaaanothing")["images"] == []
    # a private cloud has names of its own
    assert ask(image_id="ocid1.image.oc1.pca.aaaaaaaanothing")["images"] == []


@pytest.mark.parametrize("region", ["eu-frankfurt-1", "fra", "FRA"])
def test_an_image_of_another_region(ask, region):
    said = ask(fails=True, image_id=f"ocid1.image.oc1.{region}.aaaaaaaaelsewhere")["msg"]
    assert said == (f"ocid1.image.oc1.{region}.aaaaaaaaelsewhere: the image is one of the region eu-frankfurt-1, and that of the task is us-ashburn-1; "
                    "set region to eu-frankfurt-1.")


def test_an_image_that_goes_meanwhile_is_left_out(cloud, session, imported):
    m, known = SimpleNamespace(progress=silent()), images.Images(session)
    stays, goes = known.get(imported("stays")), known.get(imported("goes"))
    cloud.compute.delete_image(goes["id"])
    assert [one["display_name"] for one in module.with_details(m, session, known, [goes, stays])] == ["stays"]


def test_details_that_cannot_be_had_are_a_fault(cloud, session, imported):
    m, known = SimpleNamespace(progress=silent()), images.Images(session)
    image = known.get(imported("seen"))
    cloud.control.faults({"kind": "401", "share": 1.0, "operations": ["list_image_shape_compatibility_entries"]})
    with pytest.raises(CloudFault, match="listing the shapes of the image failed: the cloud does not accept the credentials"):
        module.with_details(m, session, known, [image])
    cloud.control.faults()
    # of an image that is there, by policies that the lab does not have
    with pytest.raises(CloudFault, match="listing the shapes of the image failed: it is not there, or this user may not see it"):
        module.with_details(m, session, SimpleNamespace(get=lambda _identity: image), [dict(image, id=image["id"][:-1])])


@pytest.fixture
def proxy():
    """The port of a proxy that lets nobody through."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def refuse():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as client:
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        threading.Thread(target=refuse, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_password_is_never_shown(ask, tmp_path, proxy):
    """Nor where it fails before the cloud is asked; Ansible shows all options with -vvv."""
    for more, words in (({"config_file_location": str(tmp_path / "none")}, "the configuration file of the cloud does not exist"),
                        ({"api_user_key_file": str(tmp_path / "none")}, "the key file does not exist"),
                        ({}, "the proxy does not let us through")):
        answer = ask(fails=True, compartment="images", proxy=f"http://me:hunt%40r2@127.0.0.1:{proxy}", **more)
        assert words in answer["msg"] and "invocation" in answer and "hunt" not in json.dumps(answer)
