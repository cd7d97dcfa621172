# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boots an image as its own BLS entry says, and tells what the running system sees.

From Python: boot(image, cats=['/etc/hosts'], commands=['hostname -f']) returns a dict; Guest is for longer conversations.
The image is never written: the guest runs on a throw-away overlay, and reaches nothing outside.
"""
import argparse
import base64
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import common

HERE = Path(__file__).resolve().parent
# QEMU forwards only addresses of its own network, so the guest's network is the one of the metadata service
NETWORK, ADDRESS, SERVICE = '169.254.0.0/16', '169.254.100.15', '169.254.169.254'
# under emulation, on a busy machine, devices come later than systemd waits for them; the first is for versions before 253
PATIENT = 'systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900'
DEFAULT_HOST, DEFAULT_DOMAIN = 'lab-host', 'labsubnet.labvcn.oraclevcn.com'


def image_format(image):
    """The format of an image of ours, by its first bytes."""
    with open(image, 'rb') as handle:
        return 'qcow2' if handle.read(4) == b'QFI\xfb' else 'raw'


def _natural(text):
    return [(1, int(p)) if p.isdigit() else (0, p) for p in re.findall(r'\d+|\D+', text)]


def read_boot(image, fmt, work):
    """Fetch the boot partition in one read-only appliance launch; returns (entry, kernel, initrd), where entry is a dict of BLS keys."""
    fetched = work / 'boot.tar'
    common.guestfish([(image, fmt)], 'mount-ro /dev/disk/by-label/boot /\ntar-out / %s' % fetched, readonly=True)
    entries = []
    with tarfile.open(fetched) as tar:
        members = {m.name.lstrip('./'): m for m in tar.getmembers()}
        loader = members['loader'].linkname if 'loader' in members and members['loader'].issym() else 'loader'
        for name, member in members.items():
            if re.fullmatch(re.escape(loader.strip('./')) + r'/entries/[^/]+\.conf', name):
                lines = tar.extractfile(member).read().decode().splitlines()
                keys = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2 and not line.startswith('#'))
                entries.append((_natural(keys.get('version', '')), _natural(name), keys))
        if not entries:
            raise common.LabError('no BLS entry in %s' % image)
        entry = max(entries, key=lambda e: e[:2])[2]            # what a boot loader takes by default
        paths = []
        for key in ('linux', 'initrd'):
            paths.append(work / key)
            with open(paths[-1], 'wb') as out:
                shutil.copyfileobj(tar.extractfile(members[entry[key].strip().lstrip('/')]), out)
    fetched.unlink()
    return entry, paths[0], paths[1]


def metadata_document(hostname, domain):
    """What OCI's service says of an instance, as far as host names go."""
    return {'instance': {'availabilityDomain': 'lab:AD-1', 'canonicalRegionName': 'us-ashburn-1', 'displayName': hostname, 'hostname': hostname,
                         'id': 'ocid1.instance.oc1.iad.lab', 'region': 'iad', 'shape': 'VM.Standard.E4.Flex', 'state': 'Running',
                         'metadata': {}, 'regionInfo': {'realmKey': 'oc1', 'regionIdentifier': 'us-ashburn-1'}},
            'vnics': [{'macAddr': '52:54:00:12:34:56', 'privateIp': ADDRESS, 'subnetCidrBlock': NETWORK, 'virtualRouterIp': '169.254.0.2',
                       'vlanTag': 0, 'vnicId': 'ocid1.vnic.oc1.iad.lab', 'hostnameLabel': hostname, 'domain': domain}]}


def _work_folder():
    """A folder named after this process; those of processes that were killed outright go first."""
    for left in Path(tempfile.gettempdir()).glob('ocne-lab-boot.*.*'):
        pid = left.name.split('.')[1]
        if pid.isdigit() and not Path('/proc', pid).exists() and left.stat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix='ocne-lab-boot.%d.' % os.getpid())


class Guest:
    """A booted image: with Guest(image) as guest: guest.run('...')."""

    def __init__(self, image, network=True, hostname=DEFAULT_HOST, domain=DEFAULT_DOMAIN, search=(), metadata=True, append='',
                 timeout=900, memory=2048, console=None, accel='tcg,thread=multi'):
        common.need({'qemu-system-x86_64': 'qemu-system-x86', 'qemu-img': 'qemu-utils'})
        self.image, self.network, self.timeout, self.memory, self.accel = Path(image).resolve(), network, timeout, memory, accel
        self.hostname, self.domain, self.search, self.metadata, self.append = hostname, domain, list(search), metadata, append
        self._temporary = None
        self._work = None
        self.console = Path(console).resolve() if console else None
        self._qemu = None
        self._port = None
        self._buffer = b''
        self._requests = 0
        self.entry, self.seconds_to_login = None, None

    def __enter__(self):
        self._temporary = _work_folder()
        self._work = Path(self._temporary.name)
        self.console = self.console or self._work / 'console.log'
        try:
            self._start()
            self._wait_for_login()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        if self._qemu:
            self._qemu.kill()               # its overlay is thrown away: nothing to flush
            self._qemu.wait()
            self._qemu = None
        if self._port:
            self._port.close()
            self._port = None
        if self._temporary:
            self._temporary.cleanup()
            self._temporary = None

    def _netdev(self):
        if not self.network:
            return ['-nic', 'none']
        parts = ['user', 'id=net0', 'restrict=on', 'net=' + NETWORK, 'dhcpstart=' + ADDRESS, 'ipv6=off']
        parts += ['hostname=' + self.hostname] if self.hostname else []
        parts += ['domainname=' + self.domain] if self.domain else []
        parts += ['dnssearch=' + name for name in self.search]
        if self.metadata:
            document = self.metadata if isinstance(self.metadata, dict) else metadata_document(self.hostname, self.domain)
            (self._work / 'metadata.json').write_text(json.dumps(document), encoding='utf-8')
            command = [sys.executable, '-I', '-S', str(HERE / 'metadata.py'), str(self._work / 'metadata.json'), str(self._work / 'requests')]
            words = ' '.join(shlex.quote(word) for word in command).replace(',', ',,')
            parts.append('guestfwd=tcp:%s:80-cmd:%s' % (SERVICE, words))
        return ['-netdev', ','.join(parts), '-device', 'virtio-net-pci,netdev=net0,romfile=']

    def _start(self):
        fmt = image_format(self.image)
        self.entry, kernel, initrd = read_boot(self.image, fmt, self._work)
        overlay = self._work / 'overlay.qcow2'
        common.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', self.image, '-F', fmt, overlay])
        ours, theirs = socket.socketpair()
        argv = ['qemu-system-x86_64', '-accel', self.accel, '-cpu', 'max', '-smp', '2', '-m', str(self.memory), '-nodefaults', '-no-user-config',
                '-display', 'none', '-monitor', 'none', '-no-reboot', '-serial', 'file:' + str(self.console).replace(',', ',,'),
                '-kernel', str(kernel), '-initrd', str(initrd), '-append', ' '.join([self.entry['options'], PATIENT, self.append]).strip(),
                '-drive', 'if=virtio,format=qcow2,cache=unsafe,file=' + str(overlay).replace(',', ',,'),
                '-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci',
                '-chardev', 'socket,id=lab,fd=%d' % theirs.fileno(), '-device', 'virtserialport,chardev=lab,name=ocne.lab'] + self._netdev()
        self.console.write_bytes(b'')
        self._started = time.monotonic()
        with open(self._work / 'qemu.log', 'wb') as log:
            self._qemu = subprocess.Popen(      # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()],
                preexec_fn=common.die_with_parent(signal.SIGKILL))
        theirs.close()
        self._port = ours

    def _fail(self, what):
        lines = self.console.read_bytes().decode(errors='replace').splitlines()[-20:]
        qemu = (self._work / 'qemu.log').read_text(errors='replace').strip()
        raise common.LabError('%s after %.0f s; %s end of the console:\n  %s' % (what, time.monotonic() - self._started, qemu, '\n  '.join(lines)))

    def _alive(self, deadline, waiting_for):
        if self._qemu.poll() is not None:
            self._fail('QEMU ended with status %s' % self._qemu.returncode)
        if time.monotonic() > deadline:
            self._fail('no %s' % waiting_for)

    def _wait_for_login(self):
        deadline = self._started + self.timeout
        while not re.search(rb'(?m)^\S+ login: ', self.console.read_bytes()):
            self._alive(deadline, 'login prompt')
            time.sleep(0.2)
        self.seconds_to_login = round(time.monotonic() - self._started, 1)

    def run(self, command, timeout=300):
        """Run a shell command as root in the guest; returns (status, stdout, stderr) with bytes."""
        self._requests += 1
        ident = b'%d' % self._requests
        self._port.sendall(b'%s %s\n' % (ident, base64.b64encode(command.encode())))
        deadline = time.monotonic() + timeout
        while True:
            line, newline, rest = self._buffer.partition(b'\n')
            if newline:
                self._buffer = rest
                fields = line.split()
                if len(fields) == 4 and fields[0] == ident:
                    return int(fields[1]), base64.b64decode(fields[2][1:]), base64.b64decode(fields[3][1:])
                continue
            self._alive(deadline, 'answer of the guest to %r' % command)
            if select.select([self._port], [], [], 0.5)[0]:
                self._buffer += self._port.recv(1 << 20)

    def cat(self, path):
        """A file's bytes as the running system sees them, or None."""
        status, out, _err = self.run('cat -- %s' % shlex.quote(path))
        return None if status else out

    def settle(self, timeout=600):
        """Wait until systemd has no start job left, and with a network until it is online; returns systemd's word for it."""
        if self.network:
            self.run('nm-online -q -t 60', timeout)
        return self.run('systemctl is-system-running --wait', timeout)[1].decode().strip()

    def metadata_requests(self):
        """What the guest asked the metadata service."""
        log = self._work / 'requests'
        return [json.loads(line) for line in log.read_text(encoding='utf-8').splitlines()] if log.exists() else []


def boot(image, cats=(), commands=(), **options):
    """Boot, ask, stop; everything as text that JSON can hold."""
    with Guest(image, **options) as guest:
        system = guest.settle()
        result = {'image': str(guest.image), 'entry': guest.entry, 'seconds_to_login': guest.seconds_to_login, 'system': system,
                  'cmdline': guest.cat('/proc/cmdline').decode().strip(), 'hostname': guest.run('uname -n')[1].decode().strip(),
                  'files': {}, 'commands': {}}
        for path in cats:
            data = guest.cat(path)
            result['files'][path] = None if data is None else data.decode(errors='replace')
        for command in commands:
            status, out, err = guest.run(command)
            result['commands'][command] = {'status': status, 'stdout': out.decode(errors='replace'), 'stderr': err.decode(errors='replace')}
        result['metadata_requests'] = guest.metadata_requests()
        return result


def main(argv):
    """The command line: tests/lab/boot/boot IMAGE"""
    parser = argparse.ArgumentParser(prog='boot', description='Boot an x86_64 image (TCG) and print as JSON what the running system sees.')
    parser.add_argument('image')
    parser.add_argument('--cat', action='append', default=[], metavar='PATH', help='a file to read in the guest (repeatable)')
    parser.add_argument('--run', action='append', default=[], metavar='CMD', help='a shell command to run in the guest as root (repeatable)')
    parser.add_argument('--no-network', action='store_true', help='no network card at all')
    parser.add_argument('--hostname', default=DEFAULT_HOST, help='host name of DHCP and of the metadata service (%(default)s); empty: DHCP gives none')
    parser.add_argument('--domain', default=DEFAULT_DOMAIN, help='domain of DHCP (%(default)s)')
    parser.add_argument('--search', action='append', default=[], metavar='DOMAIN', help='DNS search domain of DHCP (repeatable)')
    parser.add_argument('--metadata', type=argparse.FileType('r'), metavar='FILE', help='JSON {"instance": {...}, "vnics": [...]} in place of the default')
    parser.add_argument('--no-metadata', action='store_true', help='no metadata service')
    parser.add_argument('--append', default='', help='more kernel arguments, for looking into a failed boot')
    parser.add_argument('--timeout', type=int, default=900, help='seconds until the login prompt (%(default)s)')
    parser.add_argument('--memory', type=int, default=2048, help='MiB (%(default)s)')
    parser.add_argument('--accel', default='tcg,thread=multi', help='QEMU accelerator (%(default)s)')
    parser.add_argument('--console', metavar='FILE', help='keep the serial console here')
    args = parser.parse_args(argv)

    def work():
        metadata = False if args.no_metadata else json.load(args.metadata) if args.metadata else True
        result = boot(args.image, args.cat, args.run, network=not args.no_network, hostname=args.hostname, domain=args.domain, search=args.search,
                      metadata=metadata, append=args.append, timeout=args.timeout, memory=args.memory, accel=args.accel, console=args.console)
        print(json.dumps(result, indent=1))
    return common.command_line(work)
