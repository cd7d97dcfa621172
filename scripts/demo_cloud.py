# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's stand-in for Oracle's cloud, for the demos. What `tests/lab/oci/up` has told is read from standard input.

    demo_cloud.py prepare     gives it the pace of a network and of an import, and prints the variables of the role oci_image
    demo_cloud.py show        what is in it, by Oracle's SDK
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

BUCKET, COMPARTMENT = "ocne-images", "team/images"
SERVICES = ("object_storage", "compute", "work_requests", "identity")
#: bytes a second of each connection; seconds of an import
PACE = {"rate": 16 << 20, "import_seconds": 12}


def prepare(about):
    request = urllib.request.Request(f"{about['control']}/settings", json.dumps(PACE).encode(), method="PUT")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()
    reach = {"config_file_location": about["config"], "cert_bundle": about["ca"], "service_endpoints": dict.fromkeys(SERVICES, about["endpoint"])}
    print(json.dumps({"oci_image_compartment": COMPARTMENT, "oci_image_bucket": BUCKET, "oci_image_create_bucket": True, "oci_image_wait_interval": 2,
                      "oci_image_cloud": reach}, indent=1))


def show(about):
    import oci
    # they win over a client's own bundle
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)

    def client(kind):
        made = kind(oci.config.from_file(about["config"]), service_endpoint=about["endpoint"])
        made.base_client.session.verify, made.base_client.session.trust_env = about["ca"], False
        return made
    compute, storage = client(oci.core.ComputeClient), client(oci.object_storage.ObjectStorageClient)
    compartment, everything = about["compartments"][COMPARTMENT], oci.pagination.list_call_get_all_results
    for image in everything(compute.list_images, compartment).data:
        schemas = everything(compute.list_compute_image_capability_schemas, image_id=image.id).data
        shapes = everything(compute.list_image_shape_compatibility_entries, image.id).data
        full = compute.get_compute_image_capability_schema(schemas[0].id).data if schemas else None
        firmware = ", ".join(full.schema_data["Compute.Firmware"].values) if full else "none"
        print(f"image {image.display_name}: {image.lifecycle_state}, firmware {firmware}, {len(shapes)} shapes\n  {image.id}")
        for key, value in sorted(image.freeform_tags.items()):
            print(f"  {key:<22} {value}")
    where = (storage.get_namespace().data, BUCKET)
    print(f"bucket {BUCKET}: {len(storage.list_objects(*where).data.objects)} objects, "
          f"{len(everything(storage.list_multipart_uploads, *where).data)} unfinished uploads, "
          f"{len(everything(storage.list_preauthenticated_requests, *where).data)} pre-authenticated requests")


if __name__ == "__main__":
    {"prepare": prepare, "show": show}[sys.argv[1]](json.load(sys.stdin))
