# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From an object of the lab's endpoint to an image, and to what is of it."""

from __future__ import annotations

import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import work_requests


@pytest.fixture
def patience():
    """Patience that asks often, whatever the service asks for."""
    def made(timeout=30):
        return work_requests.Patience(timeout, interval=0.05, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))
    return made


@pytest.fixture
def place(cloud, disk):
    """(namespace, bucket, object) of a sound qcow2."""
    bucket = cloud.bucket()
    with open(disk, "rb") as file:
        cloud.storage.put_object(cloud.namespace, bucket, "disk", file)
    return cloud.namespace, bucket, "disk"


@pytest.fixture
def start(cloud, place):
    """Begins an import as the SDK alone does: start() -> (OCID of the image, OCID of the work request)."""
    def begun(name="ock", kind="QCOW2", where=None, **more):
        import oci
        models, (namespace, bucket, file) = oci.core.models, where or place
        source = models.ImageSourceViaObjectStorageTupleDetails(namespace_name=namespace, bucket_name=bucket, object_name=file,
                                                                source_image_type=kind)
        details = models.CreateImageDetails(compartment_id=cloud.compartment, display_name=name, image_source_details=source, **more)
        answer = cloud.compute.create_image(details)
        return answer.data.id, answer.headers["opc-work-request-id"]
    return begun


@pytest.fixture
def imported(start, session, patience):
    """The OCID of an image that is AVAILABLE."""
    def made(name="ock", **more):
        image, request = start(name, **more)
        work_requests.follow(session, request, patience())
        return image
    return made
