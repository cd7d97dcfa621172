# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Uploads through pre-authenticated requests at the lab's endpoint, as a controller makes them, without Oracle's SDK: that is not everywhere."""

from __future__ import annotations

import base64
import datetime
import email.utils
import hashlib
import http.client
import json
import secrets
import ssl
import subprocess
from types import SimpleNamespace
from urllib.parse import quote, urlsplit


class Owner:
    """The user of an endpoint, by what `up` tells of it: asks with signed requests."""

    def __init__(self, about):
        self.about, self.namespace = about, about["namespace"]
        self._key_id = f"{about['tenancy']}/{about['user']}/{about['fingerprint']}"

    def ask(self, method, path, data=None):
        """(headers, body) of an answer that is a success, to a signed request."""
        body = b"" if data is None else json.dumps(data).encode()
        headers = {"date": email.utils.formatdate(usegmt=True), "host": urlsplit(self.about["endpoint"]).netloc}
        if method in ("POST", "PUT"):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            headers.update({"content-length": str(len(body)), "content-type": "application/json", "x-content-sha256": digest})
        lines = [f"(request-target): {method.lower()} {path}", *(f"{name}: {value}" for name, value in headers.items())]
        made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.about["key_file"]], input="\n".join(lines).encode(), capture_output=True,
                              check=True).stdout
        headers["authorization"] = (f'Signature version="1",keyId="{self._key_id}",algorithm="rsa-sha256",'
                                    f'headers="(request-target) {" ".join(headers)}",signature="{base64.b64encode(made).decode()}"')
        return self.send(method, path, body or None, headers)

    def send(self, method, path, body, headers):
        """The same for a request as it is."""
        address, context = urlsplit(self.about["endpoint"]), ssl.create_default_context(cafile=self.about["ca"])
        # Python 3.13 asks more of certificates than the lab's have
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=60, context=context)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            told = answer.read()
            assert answer.status < 300, (method, answer.status, told)
            return answer.headers, told
        finally:
            connection.close()

    def upload(self, seconds=600):
        """A new bucket with a new Upload."""
        bucket, name = "b" + secrets.token_hex(6), "image-" + secrets.token_hex(3)
        self.ask("POST", f"/n/{self.namespace}/b", {"name": bucket, "compartmentId": self.about["compartments"]["images"]})
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        share = json.loads(self.ask("POST", f"/n/{self.namespace}/b/{bucket}/p", {
            "name": "one", "accessType": "ObjectWrite", "objectName": name, "timeExpires": expires.isoformat()})[1])
        return Upload(self, bucket, name, share)


class Upload:
    """An unfinished upload: its url takes the parts."""

    def __init__(self, owner, bucket, name, share):
        self._owner, self._name, self._share = owner, name, share["id"]
        self._place = f"/n/{owner.namespace}/b/{bucket}"
        begun = json.loads(owner.send("PUT", share["accessUri"], None, {"opc-multipart": "true", "content-length": "0"})[1])
        self.id, self.url = begun["uploadId"], owner.about["endpoint"] + begun["accessUri"]
        #: what must be nowhere
        self.secret = begun["accessUri"].split("/")[2]

    def parts(self):
        """{number: part} that the service lists."""
        found, page = {}, ""
        while page is not None:
            headers, body = self._owner.ask("GET", f"{self._place}/u/{self._name}?uploadId={self.id}" + (f"&page={quote(page)}" if page else ""))
            found.update({part["partNumber"]: SimpleNamespace(**part) for part in json.loads(body)})
            page = headers.get("opc-next-page")
        return found

    def commit(self):
        """Complete it; the MD5 of the whole, as the service has it."""
        return self._owner.send("POST", urlsplit(self.url).path, None, {"content-length": "0"})[0]["opc-multipart-md5"]

    def content(self):
        """The object's bytes."""
        return self._owner.ask("GET", f"{self._place}/o/{self._name}")[1]

    def abort(self):
        """Give it up."""
        self._owner.ask("DELETE", f"{self._place}/u/{self._name}?uploadId={self.id}")

    def unshare(self):
        """Remove the pre-authenticated request."""
        self._owner.ask("DELETE", f"{self._place}/p/{quote(self._share, safe='')}")
