# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""skopeo as a child process: what it needs to reach an image.

registries.conf, certs.d, the usual auth files and the proxy variables are skopeo's own business: it inherits the environment.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess

from ...common import advice, process
from ...common.errors import ImageError
from ...common.retry import retry
from . import logins
from .skopeo_errors import explain

#: seconds without an answer after which a registry counts as not answering
READ_TIMEOUT = 120
_LONGEST_PAUSE = 30   # seconds between two tries
#: what in a Registry is a file
FILES = ("auth_file", "ca_cert", "client_cert", "client_key", "policy")


@dataclasses.dataclass
class Registry:
    """The option `registry` of the modules; paths are absolute."""

    username: str = None
    password: str = dataclasses.field(default=None, repr=False)
    auth_file: str = None
    ca_cert: str = None
    client_cert: str = None
    client_key: str = None
    verify: bool = None    # None: as registries.conf says
    policy: str = None


def check_files(registry):
    """ImageError where a file that a Registry names cannot be read."""
    for option in FILES:
        path = getattr(registry, option)
        if path and not os.access(path, os.R_OK):
            raise ImageError(f"registry.{option} cannot be read", path, advice.CHECK_WORK_PATH)


class Skopeo:
    """skopeo with the means to reach one image. Use it as a context: credentials live in memory only, until it is left."""

    def __init__(self, reference, registry, staging, architecture, retries, progress):
        self.reference, self.registry, self.architecture = reference, registry, architecture
        self.retries, self.progress = retries, progress
        self.folder = os.path.join(staging, "skopeo")
        self._auth = None

    def __enter__(self):
        os.mkdir(self.folder, 0o700)
        os.mkdir(os.path.join(self.folder, "tmp"))
        check_files(self.registry)
        if self.reference.transport == "docker" and (self.registry.username is not None or logins.out_of_reach(self.registry.auth_file)):
            self._auth = self._auth_file()
        if self.registry.ca_cert or self.registry.client_cert:
            self._certificates()
        return self

    def __exit__(self, *exc_info):
        if self._auth is not None:
            os.close(self._auth)

    def _auth_file(self):
        """A file in memory with the user's own auth files and, over them, the credentials of this image if there are any."""
        fd = os.memfd_create("auth.json", os.MFD_CLOEXEC)
        with open(fd, "w", encoding="utf-8", closefd=False) as file:
            json.dump(logins.known(self.registry, self.reference), file)
        return fd

    def _certificates(self):
        """A folder as containers-certs.d(5) has them, of links: no key is copied."""
        folder = os.path.join(self.folder, "certs")
        os.mkdir(folder)
        for option, name in (("ca_cert", "ca.crt"), ("client_cert", "client.cert"), ("client_key", "client.key")):
            if getattr(self.registry, option):
                os.symlink(getattr(self.registry, option), os.path.join(folder, name))

    def arguments(self, command, prefix=""):
        """The command line up to the operands. prefix: "src-" for `copy`."""
        words = ["skopeo", "--tmpdir", os.path.join(self.folder, "tmp"), "--override-os", "linux", "--override-arch", self.architecture]
        if self.registry.policy:
            words += ["--policy", self.registry.policy]
        if command == "inspect" and self.reference.transport == "docker":
            words += ["--command-timeout", f"{READ_TIMEOUT}s"]
        words.append(command)
        if self.reference.transport == "docker":
            if self._auth is not None:
                words += [f"--{prefix}authfile", f"/proc/self/fd/{self._auth}"]
            elif self.registry.auth_file:
                words += [f"--{prefix}authfile", self.registry.auth_file]
            if self.registry.ca_cert or self.registry.client_cert:
                words += [f"--{prefix}cert-dir", os.path.join(self.folder, "certs")]
            if self.registry.verify is not None:
                words.append(f"--{prefix}tls-verify={'true' if self.registry.verify else 'false'}")
        return words

    def start(self, arguments, *descriptors, **options):
        """A child with the descriptors it needs. From the main thread only."""
        passed = [fd for fd in (self._auth, *descriptors) if fd is not None]
        return process.start(arguments, stdin=subprocess.DEVNULL, pass_fds=passed, cwd=self.folder, **options)

    def run(self, command, *operands, prefix=""):
        """Run a command to its end; its standard output. Raises ImageError."""
        with self.start([*self.arguments(command, prefix), *operands], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            output, errors = child.communicate()
        if child.returncode:
            raise self.failure(errors.decode("utf-8", "replace"), child.returncode)
        return output

    def failure(self, words, status=None):
        """What skopeo said, as an ImageError with what to do."""
        return explain(words, self.reference, status)

    def persist(self, attempt):
        """attempt(), and again with growing pauses while it fails in a way that passes by itself."""
        failed = 0

        def left(error, failures, _seconds):
            nonlocal failed
            failed = failures
            if failures <= self.retries and error.details.get("transient"):
                return math.inf
            if failures > 1:
                error.details["attempts"] = failures
            return None

        def wait(error, seconds):
            self.progress.phase(f"waiting {seconds:.0f} s before try {failed + 1} ({error.what})")
        return retry(attempt, left, 1, _LONGEST_PAUSE, wait)
