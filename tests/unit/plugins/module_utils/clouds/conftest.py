# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's endpoint, as its own tests have it, and the options of a task that reach it."""

from __future__ import annotations

import os

import pytest

from ansible_collections.ocne.images.tests.unit.lab_oci import conftest as lab

no_bundle, endpoint, cloud, own_cloud, disk = lab.no_bundle, lab.endpoint, lab.cloud, lab.own_cloud, lab.disk


def options_for(cloud, region=None, **more):
    """The options of a task that reach an endpoint of the lab."""
    address = cloud.about["regions"][region or cloud.about["region"]]
    return {"config_file_location": cloud.about["config"], "cert_bundle": cloud.about["ca"], "read_timeout": 10,
            "service_endpoints": dict.fromkeys(("object_storage", "compute", "work_requests", "identity"), address),
            **({"region": region} if region else {}), **more}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """What stands in for options is not there."""
    for name in list(os.environ):
        if name.startswith("OCI_"):
            monkeypatch.delenv(name)


@pytest.fixture
def options(cloud):
    return options_for(cloud)


@pytest.fixture
def session(options):
    from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import Session
    return Session(options)
