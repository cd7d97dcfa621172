# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two real registries on loopback: one over plain http, one with TLS and a password. Both serve the same storage.

From Python: up(state), down(state), push(state, media) with any folder as state; two sets side by side are two folders.
"""
import argparse
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import common
from sample import build

CONFIG = '''# made by the lab
version: 0.1
log: {{level: warn, accesslog: {{disabled: {quiet}}}}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
  secret: {secret}
'''
TLS = '''  tls:
    certificate: {pki}/server.crt
    key: {pki}/server.key
'''
CLIENT_CA = '''    clientcas: [{pki}/ca.crt]
'''
AUTH = '''auth:
  htpasswd: {{realm: lab, path: {pki}/htpasswd}}
'''


def default_state():
    """Where a set of registries keeps its configuration, pids and storage unless told otherwise."""
    return common.cache_dir() / 'registry' / 'default'


def _free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _private(path, text):
    """A file that only its owner reads, from its first byte on."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as handle:
        handle.write(text)


def _pki(pki, username, password):
    """Our own CA, a server certificate for loopback, a client certificate, and the password file."""
    common.need({'openssl': 'openssl', 'htpasswd': 'apache2-utils'})
    pki.mkdir(parents=True, exist_ok=True)
    pki.chmod(0o700)
    key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-sha256']
    common.run(['openssl', 'req', '-x509', '-days', '3650', '-subj', '/CN=ocne lab CA', '-keyout', pki / 'ca.key', '-out', pki / 'ca.crt',
                '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign'] + key)
    for name, extension in (('server', 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n'),
                            ('client', 'extendedKeyUsage=clientAuth\n')):
        common.run(['openssl', 'req', '-new', '-subj', '/CN=ocne lab ' + name, '-keyout', pki / (name + '.key'), '-out', pki / (name + '.csr')] + key)
        (pki / 'extensions').write_text(extension, encoding='utf-8')
        common.run(['openssl', 'x509', '-req', '-days', '3650', '-sha256', '-in', pki / (name + '.csr'), '-CA', pki / 'ca.crt', '-CAkey', pki / 'ca.key',
                    '-CAcreateserial', '-extfile', pki / 'extensions', '-out', pki / (name + '.crt')])
    # the password goes through standard input: argv is for everyone to read
    _private(pki / 'htpasswd', common.run(['htpasswd', '-niB', '-C', '5', username], input=password.encode()).strip() + '\n')
    _private(pki / 'password', password)


def _running(folder):
    """The recorded pid, if it still is this folder's registry: a pid alone may be anybody's by now."""
    try:
        pid = int((folder / 'pid').read_text(encoding='utf-8'))
        command = Path('/proc/%d/cmdline' % pid).read_bytes()
        zombie = Path('/proc/%d/stat' % pid).read_text(encoding='utf-8').rpartition(')')[2].split()[0] == 'Z'
    except (OSError, ValueError):
        return None
    return pid if str(folder / 'config.yml').encode() in command.split(b'\0') and not zombie else None


def _answers(info):
    """Is it a registry yet? 401 is an answer, too."""
    context = None
    if 'ca' in info:
        context = ssl.create_default_context(cafile=info['ca'])
        context.load_cert_chain(info['client_cert'], info['client_key'])
    handlers = [urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=context)] if context else [])
    try:
        urllib.request.build_opener(*handlers).open('%s://%s/v2/' % ('https' if context else 'http', info['address']), timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def _start(folder, storage, info, extra, quiet='true'):
    """Start one registry on a free port; another process may take the port first, so try again."""
    folder.mkdir(parents=True, exist_ok=True)
    for _attempt in range(5):
        port = _free_port()
        text = CONFIG.format(storage=storage, port=port, secret=secrets.token_hex(16), quiet=quiet)
        _private(folder / 'config.yml', text + extra)
        with open(folder / 'log', 'ab') as log:
            child = subprocess.Popen(['docker-registry', 'serve', str(folder / 'config.yml')],    # pylint: disable=consider-using-with
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/', start_new_session=True)
        (folder / 'pid').write_text('%d\n' % child.pid, encoding='utf-8')
        info = dict(info, address='localhost:%d' % port, pid=child.pid, log=str(folder / 'log'))
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and child.poll() is None:
            if _answers(info):
                return info
            time.sleep(0.05)
        _stop(folder)
    raise common.LabError('docker-registry does not start; see %s' % (folder / 'log'))


def up(state=None, client_cert=False, access_log=False):
    """Start what does not run yet; returns how to reach both. A set that runs is only described."""
    common.need({'docker-registry': 'docker-registry'})
    state = Path(state or default_state()).resolve()
    state.mkdir(parents=True, exist_ok=True)
    record = state / 'registries.json'
    options = {'client_cert_required': client_cert, 'access_log': access_log}
    with common.lock('registry-' + common.recipe_key(str(state))):
        if record.exists():
            known = json.loads(record.read_text(encoding='utf-8'))
            same = all(known['options'].get(k) == v for k, v in options.items())
            if same and all(_running(state / name) and _answers(known[name]) for name in ('plain', 'tls')):
                return known
        for name in ('plain', 'tls'):
            _stop(state / name)
        pki, storage = state / 'pki', state / 'storage'
        storage.mkdir(exist_ok=True)
        if not (pki / 'password').exists():
            _pki(pki, 'lab', secrets.token_urlsafe(12))
        made = {'state': str(state), 'options': options}
        quiet = 'false' if access_log else 'true'
        try:
            made['plain'] = _start(state / 'plain', storage, {}, '', quiet)
            tls = {'ca': str(pki / 'ca.crt'), 'username': 'lab', 'password': (pki / 'password').read_text(encoding='utf-8'),
                   'client_cert': str(pki / 'client.crt'), 'client_key': str(pki / 'client.key')}
            extra = (TLS + (CLIENT_CA if client_cert else '') + AUTH).format(pki=pki)
            made['tls'] = _start(state / 'tls', storage, tls, extra, quiet)
        except BaseException:
            for name in ('plain', 'tls'):
                _stop(state / name)
            raise
        _private(record, json.dumps(made, indent=1) + '\n')
        return made


def _stop(folder):
    pid = _running(folder)
    if pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while _running(folder):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    (folder / 'pid').unlink(missing_ok=True)


def down(state=None, purge=False):
    """Stop both by their recorded pids; with purge, forget what they store."""
    state = Path(state or default_state()).resolve()
    if state.is_dir():
        with common.lock('registry-' + common.recipe_key(str(state))):
            for name in ('plain', 'tls'):
                _stop(state / name)
            (state / 'registries.json').unlink(missing_ok=True)
            if purge:
                for name in ('plain', 'tls', 'pki', 'storage'):
                    shutil.rmtree(state / name, ignore_errors=True)


def push(state=None, media=None):
    """Put boot media images {tag: 'oci:...'} into the set's storage; returns the references in both registries.

    NAME-docker is NAME with Docker's manifests and list, which an OCI layout cannot hold: skopeo converts.
    """
    common.need({'skopeo': 'skopeo'})
    state = Path(state or default_state()).resolve()
    record = state / 'registries.json'
    options = json.loads(record.read_text(encoding='utf-8'))['options'] if record.exists() else {'client_cert_required': False, 'access_log': False}
    known = up(state, options['client_cert_required'], options['access_log'])
    media = build.media() if media is None else media
    jobs = [(tag, source, 'oci') for tag, source in media.items()] + [(tag + '-docker', media[tag], 'v2s2') for tag in ('tiny',) if tag in media]
    images = {}
    for tag, source, kind in jobs:
        name = '%s:%s' % (build.REPOSITORY, tag)
        plain = 'docker://%s/%s' % (known['plain']['address'], name)
        # the same layers give the same digest, so a converted image is known by a note of what it was made from
        note = state / 'storage' / ('pushed-' + tag)
        wanted = _digest(source, [])
        there = _digest(plain, ['--tls-verify=false'])
        if not wanted:
            raise common.LabError('skopeo cannot read %s' % source)
        if not there or not note.exists() or note.read_text(encoding='utf-8') != '%s %s' % (wanted, there):
            common.say('push %s' % name)
            how = ['--preserve-digests'] if kind == 'oci' else ['--format', kind]
            common.run(['skopeo', 'copy', '--all', '--dest-tls-verify=false'] + how + [source, plain])
            there = _digest(plain, ['--tls-verify=false'])
            note.write_text('%s %s' % (wanted, there), encoding='utf-8')
        images[tag] = {'plain': plain, 'tls': 'docker://%s/%s' % (known['tls']['address'], name), 'digest': there}
    return dict(known, images=images)


def _digest(reference, options):
    """The digest of what a reference names, or None."""
    done = subprocess.run(['skopeo', 'inspect', '--raw'] + options + [reference], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return 'sha256:' + hashlib.sha256(done.stdout).hexdigest() if done.returncode == 0 else None


def main(argv):
    """The command lines: tests/lab/registry/{up,down,push}"""
    parser = argparse.ArgumentParser(prog='registry', description='Two loopback registries: plain http, and TLS with a password.')
    sub = parser.add_subparsers(dest='command', required=True)
    for name, text in (('up', 'start, print JSON'), ('down', 'stop'), ('push', 'start, put the sample images there, print JSON')):
        command = sub.add_parser(name, help=text)
        command.add_argument('--state', help='folder of this set (default: in the lab\'s cache)')
        if name == 'up':
            command.add_argument('--client-cert', action='store_true', help='the TLS one also requires a client certificate')
            command.add_argument('--access-log', action='store_true', help='log every request')
        if name == 'down':
            command.add_argument('--purge', action='store_true', help='remove storage and keys, too')
        if name == 'push':
            command.add_argument('--tiny-only', action='store_true', help='only what needs no root to build')
    args = parser.parse_args(argv)

    def work():
        if args.command == 'up':
            print(json.dumps(up(args.state, args.client_cert, args.access_log), indent=1))
        elif args.command == 'push':
            print(json.dumps(push(args.state, build.media(not args.tiny_only)), indent=1))
        else:
            down(args.state, args.purge)
    return common.command_line(work)
