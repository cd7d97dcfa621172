# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compartments, by OCID or by their path, of the lab's tenancy: images, team/images, team/builds, sandbox, and one that was deleted."""

from __future__ import annotations

import importlib
import types

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.identity import compartment, region_of
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder
oci = importlib.import_module("oci")


def test_an_ocid_is_taken_without_a_request(cloud, session):
    assert compartment(session, " ocid1.compartment.oc1..any ") == "ocid1.compartment.oc1..any"
    assert cloud.control.counters()["operations"] == {}


@pytest.mark.parametrize("path", ["images", "team", "team/images", "/team/builds/"])
def test_a_path_from_the_tenancy(cloud, session, path):
    cloud.control.set(page_size=1)
    assert compartment(session, path) == cloud.about["compartments"][path.strip("/")]


def test_two_of_a_name_in_two_places_are_two(cloud, session):
    assert compartment(session, "images") != compartment(session, "team/images")


@pytest.mark.parametrize("path, words", [
    ("team/image", "^team/image: there is no compartment image in team; there is builds, images; check the path"),
    ("builds", "^builds: there is no compartment builds in the tenancy; there is images, sandbox, team; did you mean team/builds?"),
    ("Images", "there is no compartment Images in the tenancy; .* did you mean images or team/images?"),
    ("old", "there is no compartment old in the tenancy; there is images, sandbox, team"),
    ("team/images/deep", "there is no compartment deep in team/images; there is none"),
    ("none/images", "there is no compartment none in the tenancy"),
    ("", "it is no path of a compartment; write it as parent/child"),
    ("team//images", "it is no path of a compartment"),
])
def test_a_path_that_leads_nowhere(cloud, session, path, words):
    cloud.control.set(page_size=2)
    with pytest.raises(ImageError, match=words):
        compartment(session, path)


def test_faults_on_the_way(cloud, session):
    cloud.control.faults({"kind": "503", "times": 1}, {"kind": "reset", "times": 1})
    assert compartment(session, "team/builds") == cloud.about["compartments"]["team/builds"]


def test_a_compartment_that_this_user_may_not_see(cloud, session):
    cloud.control.set(denied=[cloud.about["compartments"]["team"]])
    with pytest.raises(CloudFault, match="^team: looking for compartments failed: it is not there, or this user may not see it; check its name"):
        compartment(session, "team/builds")


def test_a_path_needs_a_tenancy(session):
    session.tenancy = None
    with pytest.raises(ImageError, match="needs the tenancy; set tenancy, or give the OCID"):
        compartment(session, "team")


def test_a_name_that_is_there_twice():
    """The cloud keeps names of siblings apart today; the reference of the API does not say so."""
    twins = [types.SimpleNamespace(id=f"ocid1.compartment.oc1..{number}", name="twin", lifecycle_state="ACTIVE") for number in (1, 2)]
    client = types.SimpleNamespace(list_compartments=lambda *args, **kwargs: types.SimpleNamespace(data=twins, headers={}))
    with pytest.raises(ImageError, match=r"there are 2 compartments twin in the tenancy: ocid1\.compartment\.oc1\.\.1, ocid1\..*2; give the OCID"):
        compartment(types.SimpleNamespace(tenancy="t", identity=lambda: client), "twin")


@pytest.mark.parametrize("identity, region", [
    ("ocid1.image.oc1.iad.a", "us-ashburn-1"), ("ocid1.image.oc1.eu-frankfurt-1.a", "eu-frankfurt-1"), (" OCID1.image.oc1.PHX.a\n", "us-phoenix-1"),
    # of no region, and of one that only a private cloud knows
    ("ocid1.compartment.oc1..aaaaaaaa", None), ("ocid1.image.oc1.pca.aaaaaaaa", None), ("ocid1.image", None), ("image.of.oc1.iad.a", None), ("", None),
])
def test_what_an_ocid_tells_of_its_region(identity, region):
    assert region_of(identity) == region
