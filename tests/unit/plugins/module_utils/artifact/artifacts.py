# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small real artifacts, published as a module does it, for unit tests."""

from __future__ import annotations

import os

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record
from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import publish, staging_folder
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import text_digest
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact


def make(folder, dest, content=b"image", extents=()):
    """Stage and publish a real small file."""
    with staging_folder(str(dest)) as staging:
        path = os.path.join(staging.path, "out")
        with open(path, "wb") as file:
            file.write(content)
        values = []
        for name in extents:
            with open(os.path.join(staging.path, name), "wb") as file:
                file.write(content)
            values.append({"sha256": text_digest(content)})
        done = Artifact("out", path, "raw", len(content), text_digest(content), len(content), list(extents), {"extents": values})
        record = Record("test", {"digest": "1"}, {"a": 1}, done.sha256, "raw", done.size, {})
        publish(done, str(dest), record)
    return record
