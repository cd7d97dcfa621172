# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small real container images on disk, sound and hostile, for unit tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
import tarfile

import pytest

OCI = "application/vnd.oci.image."
NOISE = random.Random(33).randbytes(300_000)
NEEDS_ZSTD = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")


def qcow2(size=1 << 30, filling=b"", **fields):
    """A qcow2 header with its tables: the smallest that a reader takes for an image. Fields: backing_offset, incompatible."""
    cluster = 1 << 16
    l1_entries = -(-size // (cluster // 8 * cluster))
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, fields.get("backing_offset", 0), fields.get("backing_size", 0), 16, size, 0,
                       l1_entries, 3 * cluster, cluster, 1, 0, 0, fields.get("incompatible", 0), 0, 0, 4, 104)
    table = struct.pack(">Q", 2 * cluster).ljust(cluster, b"\0")
    return head.ljust(cluster, b"\0") + table + bytes(2 * cluster) + filling


def member(name, data=b"", kind=tarfile.REGTYPE, link="", **fields):
    """(TarInfo, data) of one member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(*members, form=tarfile.PAX_FORMAT, end=True):
    """A tar of members, each as member() gives it. Written as told, sizes that lie too."""
    out = io.BytesIO()
    for info, data in members:
        out.write(info.tobuf(form, "utf-8", "surrogateescape"))
        out.write(data)
        out.write(bytes(-len(data) % 512))
    if end:
        out.write(bytes(1024))
    return out.getvalue()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACKERS = {
    "none": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip-members": lambda data: b"".join(gzip.compress(data[at:at + 100_000], mtime=0) for at in range(0, len(data), 100_000)),
    "zstd": zstd,
}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    """One image in a folder of the `dir:` transport. layers: tars, the lowest first."""

    def __init__(self, folder, layers, packing="gzip", architecture="amd64", diff_ids=None, labels=None):
        self.folder = str(folder)
        os.makedirs(folder, exist_ok=True)
        packed = [PACKERS[packing](layer) for layer in layers]
        config = json.dumps({"architecture": architecture, "os": "linux", "config": {"Labels": labels or {}},
                             "rootfs": {"type": "layers", "diff_ids": diff_ids or [sha256(layer) for layer in layers]}}).encode()
        media = OCI + "layer.v1.tar" + {"none": "", "zstd": "+zstd"}.get(packing, "+gzip")
        self.manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                         "config": dict(self.blob(config), mediaType=OCI + "config.v1+json"),
                         "layers": [dict(self.blob(data), mediaType=media) for data in packed]}
        self.write_manifest()
        self.write("version", b"Directory Transport Version: 1.1\n")

    def write_manifest(self):
        data = json.dumps(self.manifest).encode()
        self.digest = sha256(data)
        self.write("manifest.json", data)

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def blob(self, data):
        digest = sha256(data)
        self.write(digest.partition(":")[2], data)
        return {"digest": digest, "size": len(data)}

    def spoil(self, number, data):
        """Another content under the name of a layer."""
        self.write(self.manifest["layers"][number]["digest"].partition(":")[2], data)

    def layer(self, number):
        with open(os.path.join(self.folder, self.manifest["layers"][number]["digest"].partition(":")[2]), "rb") as file:
            return file.read()
