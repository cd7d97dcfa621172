# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files in the workspace of a builder pod: what a Job needs comes there, what it made comes back, or stays under a name."""

from __future__ import annotations

import os
import re
import tempfile

from ...artifact.record import RECORD_SUFFIX, load_record, parse_record, record_text
from ...artifact.source import identity
from ...common import advice
from ...common.errors import ImageError, from_os_error
from ...common.progress import silent
from ...files import extents
from ...files.digests import sha256_file, stat_of
from ...work.disk import headers
from . import transfer

#: begins a path that is a name in the workspace of a builder pod
WORKSPACE_PREFIX = "workspace:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_BY_DIGEST = re.compile(r"(sparse-sha256-)?[0-9a-f]{64}")


def workspace_name(path):
    """NAME of workspace:NAME, None for another path. Raises ImageError."""
    if not path.startswith(WORKSPACE_PREFIX):
        return None
    name = path[len(WORKSPACE_PREFIX):]
    if not _NAME.fullmatch(name) or _BY_DIGEST.fullmatch(name) or name.endswith(RECORD_SUFFIX):
        raise ImageError("it is not a name in a workspace", path, "use letters, digits, dots, hyphens and underscores")
    return name


def name_of(digest):
    """The name in the pod of a file with this digest."""
    return digest.replace(":", "-")


def _recorded(path):
    """The digest of a file as its record tells it; None where there is none that is true of it. Reads nothing else."""
    record = load_record(path)
    return record.sha256 if record and record.stat == stat_of(path) else None


class Workspace:
    """The files of one Session's pod."""

    def __init__(self, session, progress):
        self._session, self._progress = session, progress

    def path(self, name):
        """Where a file is in the pod."""
        return os.path.join(self._session.status["workspace"], "files", name)

    # --- there -------------------------------------------------------------------------------------------

    def bring(self, inputs, pull):
        """Bring the files that a Job's options name (job.Input); {its path: (where it is read here, its name in the pod)}. Raises ImageError.

        pull(path, digest, name): tries to get an image there from where it came from; returns whether it is there.
        """
        bases = {}
        for item in inputs:
            path, read_path = item.path, item.holder.pop("read_path", None) if item.named else None
            kept = workspace_name(path)
            if kept:
                item.moved(self.path(kept))
                continue
            if item.image and headers.read_header(read_path or path, item.image, path, allow_backing=True).extents:
                raise ImageError("an image of several files cannot be sent to a builder pod", path, "convert it on this host first (builder: local)")
            try:
                digest = identity(path, self._progress, sparse=item.image == "raw", read_path=read_path)
            except FileNotFoundError as error:
                raise from_os_error(error, "reading a file for the builder", path) from error
            name = name_of(digest)
            if not (item.image and pull(path, digest, name)):
                transfer.push(self._session.client, path, name, digest, self._progress, read_path, self._session.retry_seconds)
            item.moved(self.path(name))
            bases[path] = (read_path or path, name)
        return bases

    def make_room(self, inputs):
        """See to it that the sources and as much again fit: what goes beyond the limit, the cluster evicts. Raises ImageError.

        What is there under a digest goes, but for the sources themselves: they would only have to be sent again.
        """
        files, limit = self._session.allocated(), self._session.limit
        needed, there = 0, set()
        for item in inputs:
            if os.path.exists(item.path):
                name, size = name_of(_recorded(item.path) or ""), os.stat(item.path).st_blocks * 512
                needed += size if name in files else 2 * size
                there.add(name)
        for name in [name for name in files if _BY_DIGEST.fullmatch(name) and name not in there]:
            if needed + sum(files.values()) <= limit:
                return
            self._session.ask("DELETE", f"/v1/files/{name}")
            del files[name]
        needed += sum(files.values())
        if needed > limit:
            raise ImageError(f"the workspace of the builder has {limit} bytes, and this work needs about {needed}", self._session.where,
                             advice.LARGER_WORKSPACE, needed_bytes=needed, limit_bytes=limit)

    # --- back --------------------------------------------------------------------------------------------

    def fetch(self, done, item, place, base):
        """Bring an Artifact of a Job (pod.Done), all its files, to the folder `place`; its path is changed to what it is here. Raises ImageError.

        base: what bring() told of a file that it differs little from, or None. Returns how the agent names the file.
        """
        folder, source = os.path.dirname(item.path), done.file(item.path)
        digests = [item.sha256, *(extent["sha256"] for extent in item.values.get("extents", []))]
        for number, (file, digest) in enumerate(zip([os.path.basename(item.path), *item.extents], digests)):
            local_base, remote_base = base if base and not number else (None, None)
            transfer.fetch(self._session.client, done.file(os.path.join(folder, file)), os.path.join(place, file), digest, self._progress,
                           local_base, remote_base, self._session.retry_seconds)
        item.path = os.path.join(place, os.path.basename(item.path))
        return source

    # --- what stays --------------------------------------------------------------------------------------

    def keep(self, source, name, digest):
        """Give a Job's file a name in the workspace; with its digest as name, a later task that would send it sends nothing. Raises ImageError."""
        self._session.ask_json("POST", f"/v1/files/{name}", {"source": source, "digest": digest})

    def leave(self, done, item, name):
        """Let an Artifact of a Job stay as workspace:NAME. Raises ImageError."""
        if item.extents:
            raise ImageError("an image of several files cannot be kept in a workspace", WORKSPACE_PREFIX + name,
                             "choose another subformat, or a dest on this host")
        self.keep(done.file(item.path), name, item.sha256)
        item.path = WORKSPACE_PREFIX + name

    def put(self, item, name):
        """Send an Artifact that was made on this host to stay as workspace:NAME. Raises ImageError."""
        self._session.open()
        transfer.push(self._session.client, item.path, name, item.sha256, self._progress, retry_seconds=self._session.retry_seconds)
        item.path = WORKSPACE_PREFIX + name

    def record(self, name):
        """artifact.Record of what is there under this name; None where there is nothing, or it was changed. Raises ImageError."""
        session = self._session
        if not session.params.get("name"):
            raise ImageError("a workspace is that of a named builder pod", WORKSPACE_PREFIX + name, "set builder.name")
        if not session.open(make=False):
            return None
        beside = name + RECORD_SUFFIX
        size = session.files().get(beside)
        if not size:
            return None
        record = parse_record(session.ask("GET", f"/v1/files/{beside}/part?ranges={extents.as_text([(0, size)])}").body)
        return record if record and session.has(name, record.sha256) else None

    def write_record(self, name, record):
        """Keep a record beside what is there under this name. Raises ImageError."""
        self._session.open()
        with tempfile.NamedTemporaryFile() as file:
            file.write(record_text(record).encode())
            file.flush()
            transfer.push(self._session.client, file.name, name + RECORD_SUFFIX, sha256_file(file.name)[0], silent())
