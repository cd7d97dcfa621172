# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every part of the lab uses: the cache, its locks, child processes, clean ends."""
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PR_SET_PDEATHSIG = 1


class LabError(Exception):
    """A fault that one sentence explains."""


def cache_dir():
    """Everything the lab makes lives here, never in the repository."""
    path = os.environ.get('OCNE_LAB_CACHE') or os.path.expanduser('~/.cache/ocne-images-lab')
    os.makedirs(path, exist_ok=True)
    return Path(path).resolve()


def say(text):
    """Progress belongs on standard error: standard output is for JSON."""
    print('lab: ' + text, file=sys.stderr, flush=True)


def recipe_key(params, *sources):
    """A short hash of everything that decides an artifact: the scripts that make it and their parameters."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode())
    for source in sources:
        source = Path(source)
        files = [source] if source.is_file() else sorted(p for p in source.rglob('*') if p.is_file() and '__pycache__' not in p.parts)
        for path in files:
            digest.update(b'\0%s\0%o\0' % (str(path.relative_to(source.parent)).encode(), path.stat().st_mode & 0o111))
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def lock(name):
    """One builder at a time for each artifact; the kernel drops the lock of a process that dies."""
    path = cache_dir() / 'locks' / (name + '.lock')
    path.parent.mkdir(exist_ok=True)
    with open(path, 'w', encoding='utf-8') as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('waiting for another builder of %s' % name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def remove_tree(path):
    """Remove a work folder, but never through a mount that a killed builder left in it."""
    mounts = [line.split()[4] for line in Path('/proc/self/mountinfo').read_text(encoding='utf-8').splitlines()]
    inside = [m for m in mounts if m.startswith(str(path) + '/')]
    if inside:
        raise LabError('%s is still mounted: unmount it first' % ', '.join(inside))
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def workspace(name):
    """A folder for work under way. Call it inside lock(name): what an interrupted run left is removed first."""
    parent = cache_dir() / 'tmp'
    parent.mkdir(exist_ok=True)
    for left in parent.glob(name + '.*'):
        remove_tree(left)
    path = Path(tempfile.mkdtemp(prefix=name + '.', dir=parent))
    path.chmod(0o755)
    try:
        yield path
    finally:
        remove_tree(path)


def publish(made, final):
    """A finished folder appears at once or not at all."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    os.rename(made, final)


def need(programs):
    """need({program: package}): one sentence that names what to install."""
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    missing = sorted({package for program, package in programs.items() if not shutil.which(program, path=path)})
    if missing:
        raise LabError('missing tools; install the Debian packages: %s' % ' '.join(missing))


def die_with_parent(signum):
    """For preexec_fn: a harness that is killed outright takes its children along."""
    def before_exec():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum)
    return before_exec


def run(argv, stop=signal.SIGTERM, **kwargs):
    """Run a child to its end and read its exit status; what it said is shown only if it fails.

    stop is what ends it early, with us or by our death.
    """
    data = kwargs.pop('input', None)
    env = dict(os.environ, LC_ALL='C', **kwargs.pop('env', {}))
    env = {name: value for name, value in env.items() if value is not None}
    env['PATH'] = env.get('PATH', '') + ':/usr/sbin:/sbin'
    stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
    # pylint: disable-next=subprocess-popen-preexec-fn
    with subprocess.Popen([str(a) for a in argv], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                          preexec_fn=die_with_parent(stop), **kwargs) as child:
        try:
            out = child.communicate(data)[0].decode(errors='replace')
        except BaseException:
            child.send_signal(stop)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
            raise
    if child.returncode:
        tail = out.strip().splitlines()[-15:]
        raise LabError('%s failed with status %d:\n  %s' % (os.path.basename(str(argv[0])), child.returncode, '\n  '.join(tail)))
    return out


def guestfish(disks, script, readonly=False):
    """One appliance launch for any number of disks [(path, format)]; edits come as a guestfish script.

    KVM may exist and still abort QEMU, so the lab always asks for TCG unless the caller's environment says otherwise.
    """
    need({'guestfish': 'libguestfs-tools libguestfs-xfs'})
    argv = ['guestfish'] + (['--ro'] if readonly else [])
    for path, fmt in disks:
        argv += ['--format=' + fmt, '-a', path]
    # libguestfs' own appliance: the fixed one of the builder image knows no /dev/disk/by-label
    env = {'LIBGUESTFS_PATH': None, 'LIBGUESTFS_BACKEND': os.environ.get('LIBGUESTFS_BACKEND', 'direct'),
           'LIBGUESTFS_BACKEND_SETTINGS': os.environ.get('LIBGUESTFS_BACKEND_SETTINGS', 'force_tcg')}
    # shutdown, unlike the end of the script, reports write errors
    return run(argv, input=('run\n' + script + '\nshutdown\n').encode(), env=env)


def clean_ends():
    """SIGTERM and SIGHUP end a run as Ctrl-C does: through every finally."""
    def stop(signum, _frame):
        raise SystemExit(128 + signum)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)


def command_line(function):
    """Run a tool's main: one sentence and status 1 for a foreseen fault."""
    clean_ends()
    try:
        return function() or 0
    except LabError as error:
        print('error: %s' % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
