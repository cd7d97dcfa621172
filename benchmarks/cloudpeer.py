# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The peers of an upload, each a process of its own: `python cloudpeer.py put|plain ARGUMENTS`, a JSON object; run by upload.py."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import sys
from urllib.parse import urlsplit

_PIECE = 256 << 10    # bytes


def put(config, ca, endpoint, namespace, bucket, name, path):
    """As ocne does it: the whole file in memory, one PutObject, no checksum."""
    import oci
    # the time-out for connecting is that for sending, too
    client = oci.object_storage.ObjectStorageClient(oci.config.from_file(config), service_endpoint=endpoint, timeout=(600, 600),
                                                    retry_strategy=oci.retry.NoneRetryStrategy())
    client.base_client.session.verify, client.base_client.session.trust_env = ca, False
    with open(path, "rb") as file:
        data = file.read()
    client.put_object(namespace, bucket, name, data)


def plain(ca, url, path):
    """What is the least that it costs: each byte read once, in its MD5, and through TLS. url: of a pre-authenticated request."""
    where = urlsplit(url)
    connection = http.client.HTTPSConnection(where.hostname, where.port, context=ssl.create_default_context(cafile=ca), timeout=600)
    made, buffer = hashlib.md5(), memoryview(bytearray(_PIECE))
    with open(path, "rb", buffering=0) as file:
        connection.putrequest("PUT", where.path)
        connection.putheader("Content-Length", str(file.seek(0, 2)))
        connection.endheaders()
        file.seek(0)
        while count := file.readinto(buffer):
            made.update(buffer[:count])
            connection.send(buffer[:count])
    answer = connection.getresponse()
    answer.read()
    wanted = base64.b64encode(made.digest()).decode()
    if answer.status != 200 or answer.headers["opc-content-md5"] != wanted:
        sys.exit(f"HTTP status {answer.status}, MD5 {answer.headers['opc-content-md5']}, sent was {wanted}")


if __name__ == "__main__":
    {"put": put, "plain": plain}[sys.argv[1]](**json.loads(sys.argv[2]))
