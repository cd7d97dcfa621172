# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a module meets Ansible: options in, one sentence out, check mode, diff, file attributes, progress."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from ansible.module_utils.basic import AnsibleModule

from ..artifact.record import examine, load_record, write_record
from ..artifact.source import HeldOpen, WorkspaceSource
from ..artifact.staging import Staging, publish, staging_folder, sweep
from ..builders import local
from ..builders.kubernetes import builder
from ..builders.remote import workspace
from ..common import advice, versions
from ..common.canonical import defaults
from ..common.errors import ImageError, Interrupted, from_os_error
from ..common.lifeline import Lifeline
from ..common.progress import Progress
from ..work.job import Job
from .progress_file import ProgressFile

#: options of every module that writes an artifact; documented in doc_fragments/artifact.py
ARTIFACT_SPEC = {
    "force": {"type": "bool", "default": False},
    "verify": {"type": "bool", "default": False},
}


class ImageModule:
    """One run of one module: its options, and the steps that all modules share."""

    def __init__(self, module, emit, closing):
        self._ansible, self._closing, self._pod, self._held = module, closing, None, []
        self._emit = emit
        self.params = module.params
        self.check = module.check_mode
        self.wants_diff = module._diff
        self.progress = Progress(emit)

    def warn(self, text):
        self._ansible.warn(text)

    def mask(self, texts):
        """Keep secret texts out of the log and the result."""
        self._ansible.no_log_values.update(texts)

    def unmask(self):
        """Tell results as they are. no_log has kept secret contents out of the log; the caller has taken them out of params.

        Else a content such as "1" would mask every 1 of the answer.
        """
        self._ansible.no_log_values.clear()

    def fail(self, error, **values):
        """End the task with an ImageError and further values."""
        self._ansible.fail_json(msg=str(error), error=error.as_dict(), **values)

    # --- paths -----------------------------------------------------------------------------------

    def source(self, path):
        """A source file's absolute path, or workspace:NAME. Raises ImageError where there is none to read."""
        if self._workspace_name(path):
            return path
        path = os.path.abspath(os.path.expanduser(path))
        if not os.path.isfile(path):
            raise ImageError("the source image does not exist" if not os.path.exists(path) else "the source image is not a file",
                             path, advice.CHECK_PATH)
        return path

    def _workspace_name(self, path):
        """NAME of workspace:NAME, None for another path. Raises ImageError."""
        name = workspace.workspace_name(path)
        if name and not self.remote:
            raise ImageError("a workspace is that of a builder pod", path, "name the pod in the option builder")
        return name

    def hold_open(self, path):
        """artifact.source.HeldOpen of a source file: what another task publishes there meanwhile is not mixed in. Raises ImageError.

        Of workspace:NAME artifact.source.WorkspaceSource.
        """
        name = self._workspace_name(path)
        if name:
            record = self.builder().record(name)
            if record is None:
                raise ImageError("there is no such artifact in the workspace", path, "make it first, by a task with that dest and the same builder")
            return WorkspaceSource(path, record)
        try:
            held = HeldOpen(path)
            # its file is closed with it
            self._held.append(held)
            return held
        except OSError as error:
            raise from_os_error(error, "reading the source image", path) from error

    def destination(self, path, name):
        """Where an artifact goes: `path`, or `name` in it where it is a folder. Raises ImageError.

        A symbolic link is followed, so that what it names is replaced, not the link. workspace:NAME stays what it is.
        """
        if self._workspace_name(path):
            return path
        given = os.path.expanduser(path)
        path = os.path.realpath(given)
        if os.path.isdir(path) or given.endswith("/"):
            path = os.path.join(path, name)
        folder = os.path.dirname(path)
        # in check mode an earlier task may only have said that it would make it
        if not os.path.isdir(folder) and not self.check:
            raise ImageError("the folder of the destination does not exist", folder, "make it first (ansible.builtin.file, state: directory)")
        if os.path.exists(path) and not os.path.isfile(path):
            raise ImageError("the destination is not a file", path, "name a file or a folder")
        return path

    @staticmethod
    def same(path, other):
        """Whether two paths name one file that is there."""
        return path == other or (os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other))

    @contextlib.contextmanager
    def staging(self, dest):
        """artifact.staging_folder() for a destination; what goes to a workspace is staged in the pod."""
        if self._workspace_name(dest):
            yield Staging(dest, None)
        else:
            with staging_folder(dest) as staging:
                yield staging

    # --- records ---------------------------------------------------------------------------------

    def record(self, dest):
        """The record of a destination, whatever it says."""
        name = self._workspace_name(dest)
        return self.builder().record(name) if name else load_record(dest)

    def write_record(self, dest, record):
        name = self._workspace_name(dest)
        if name:
            self.builder().write_record(name, record)
        else:
            write_record(dest, record)

    def current(self, dest):
        """(record, why not): what is at the destination already, as its record says. What a killed run left beside it goes."""
        if self._workspace_name(dest):
            record = None if self.params.get("force") else self.record(dest)
            return record, None if record else "it is not in the workspace"
        if not self.check:
            sweep(dest)
        if self.params.get("force"):
            return None, "force is set"
        try:
            return examine(dest, self.params.get("verify", False), self.progress, readonly=self.check)
        except OSError as error:
            raise from_os_error(error, "reading what is at the destination", dest) from error

    # --- work ------------------------------------------------------------------------------------

    def build(self, kind, options, staging):
        """Run one Job in `staging` (artifact.Staging) and return its Result. Raises ImageError."""
        return self.builder().run(Job(kind, options, staging.path, self.check), self._emit, staging.lock)

    def run_locally(self, kind, options, staging):
        """Run one Job that only looks, on this host whatever the builder is. Returns its Result. Raises ImageError."""
        return local.run(Job(kind, options, staging.path, True), self._emit, staging.lock)

    @property
    def remote(self):
        """Whether work is not done on this host."""
        return (self.params.get("builder") or {}).get("type") == "pod"

    def dry_run(self):
        """Where check mode has found that there is something to do: whether the builder would do it. Raises ImageError."""
        # one that only has a name may be made by an earlier task, which check mode has not run
        if self.remote and (self.params["builder"]["create"] or not self.params["builder"]["name"]):
            self.builder().dry_run()

    def builder(self):
        """Where work is done."""
        if not self.remote:
            return local
        if self._pod is None:
            self._pod = self._closing.enter_context(contextlib.closing(builder.PodBuilder(self.params["builder"], self._emit)))
        return self._pod

    def publish(self, artifact, dest, record):
        """Bring a staged artifact to `dest` with its record, and the owner, mode and labels that were asked for."""
        if self._workspace_name(dest):
            return self.write_record(dest, record)
        arguments = self._ansible.load_file_common_arguments(self.params, path=dest)

        def prepare(staged):
            with contextlib.suppress(FileNotFoundError):
                before = os.stat(dest)
                # what was there keeps its mode and owner, unless told otherwise
                os.chmod(staged, before.st_mode & 0o7777)
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    with contextlib.suppress(PermissionError):
                        os.chown(staged, before.st_uid, before.st_gid)
            self._ansible.set_fs_attributes_if_different(dict(arguments, path=staged), False)

        if not os.path.exists(dest) and arguments.get("mode") is None:
            umask = os.umask(0)
            os.umask(umask)
            for name in [*artifact.extents, os.path.basename(artifact.path)]:
                os.chmod(os.path.join(os.path.dirname(artifact.path), name), 0o666 & ~umask)
        publish(artifact, dest, record, prepare)

    def attributes(self, dest, changed):
        """Set owner, mode and labels of a destination that is there; returns whether anything changed."""
        if self._workspace_name(dest) or not os.path.exists(dest):
            return changed
        arguments = self._ansible.load_file_common_arguments(self.params, path=dest)
        now = self._ansible.set_fs_attributes_if_different(arguments, changed)
        if now and not self.check:
            record = load_record(dest)
            # only the change time moved, by our own hand
            if record:
                examine(dest, progress=self.progress)
        return now

    # --- answers ---------------------------------------------------------------------------------

    def diff(self, before, after, path, recipe):
        """The `diff` of a task: recipes as text, before and after. recipe: the dataclass of the options, with the defaults that records leave out."""
        def text(record):
            if record is None:
                return ""
            options = dict(defaults(recipe), **record.options) if record.kind == after.kind else record.options
            return json.dumps({"kind": record.kind, "source": record.source, "options": options}, indent=2, sort_keys=True) + "\n"
        return {"before_header": path, "after_header": path, "before": text(before), "after": text(after)}


def run_module(spec, body, files=True, **keywords):
    """A module's main(): body(ImageModule) returns the values of exit_json.

    files: the module takes the options of ansible.builtin.file (owner, group, mode, se*, attributes).
    """
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, add_file_common_args=files, **keywords)
    if sys.version_info < versions.PYTHON:
        module.fail_json(msg=f"ocne.images needs Python {versions.text(versions.PYTHON)} or newer on the module host, and {sys.executable} is older; "
                             "set ansible_python_interpreter.")
    lifeline = Lifeline()
    try:
        with lifeline, ProgressFile() as progress_file, contextlib.ExitStack() as closing:
            values = body(ImageModule(module, progress_file.emit, closing))
    except (Interrupted, ImageError, OSError) as error:
        fault = error
        if lifeline.stopped:
            # what went wrong on the way out does not hide why
            fault = Interrupted(lifeline.stopped)
        elif isinstance(error, OSError):
            fault = from_os_error(error, "the task")
        module.fail_json(msg=str(fault), error=fault.as_dict())
    module.exit_json(**values)
