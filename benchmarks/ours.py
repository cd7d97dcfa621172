# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work program, as a module starts it."""

from __future__ import annotations

import os

from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import staging_folder
from ansible_collections.ocne.images.plugins.module_utils.builders import local
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job


def work(kind, options, folder):
    """Do a Job and bring what it made (fsynced, checked, with its checksum) to `folder`, as a module does. Returns its Result."""
    with staging_folder(os.path.join(folder, "image")) as staging:
        result = local.run(Job(kind, options, staging.path), lambda event: None, staging.lock)
        for made in result.artifacts:
            for name in [*made.extents, os.path.basename(made.path)]:
                os.replace(os.path.join(os.path.dirname(made.path), name), os.path.join(folder, name))
            made.path = os.path.join(folder, os.path.basename(made.path))
        artifact_sync(folder)
    return result


def artifact_sync(*paths):
    """fsync of files and folders: the peer's commands do not do it, and what is not on the disk is not done."""
    for path in paths:
        digests.sync_file(path)
