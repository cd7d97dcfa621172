# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pod's session that only pretends, and a Job for it."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.ocne.images.plugins.module_utils.builders.remote import package
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job

JOB = Job("boot_image", {"source": "docker://registry.example/ock:1", "registry": {}, "known": [], "architecture": "amd64"}, "/staging")


def stop(*_arguments, **_options):
    raise Interrupted("received SIGTERM")


def fail(*_arguments, **_options):
    raise ImageError("skopeo: no route to host", tool="skopeo")


class Session:
    """A named pod, which answers what `answers` has; asked: [(method, path)]."""

    own, mounted, retry_seconds, where = False, None, 1, "pod b1"

    def __init__(self):
        self.asked, self.answers, self.stops_at = [], {}, None
        self.status = {"programs": [package.program()[1]], "machine": "x86_64"}
        self.client = SimpleNamespace(request=self.ask, ended=lambda seconds: None)

    def open(self, **_options):
        return True

    def ask(self, method, path, *_arguments, **_options):
        self.asked.append((method, path.partition("-")[0]))
        if method == self.stops_at and self.asked.count(self.asked[-1]) == 1:
            stop()
        return self.answers.get(method)

    def ask_json(self, method, path, data=None):
        self.ask(method, path)
        return {"staging": "/workspace/staging"}

    def has(self, name, digest):
        return False
