# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint's own certificates: its CA, its server, and an instance's identity, as Compute gives one to each instance."""
from . import keys

SERVER = 'subjectAltName=DNS:localhost,IP:%s\nextendedKeyUsage=serverAuth\n'
LOOPBACK = '127.0.0.1'
CA = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign']


def _authority(folder, name, subject):
    keys.make_key(folder / (name + '.key'))
    if not (folder / (name + '.crt')).exists():
        made = keys.openssl('req', '-x509', '-new', '-days', '3650', '-sha256', '-subj', subject, '-key', folder / (name + '.key'), *CA)
        keys.private(folder / (name + '.crt'), made)


def _signed(folder, name, authority, subject, extension):
    keys.make_key(folder / (name + '.key'))
    if (folder / (name + '.crt')).exists():
        return
    request = keys.openssl('req', '-new', '-sha256', '-subj', subject, '-key', folder / (name + '.key'))
    (folder / (name + '.ext')).write_text(extension, encoding='utf-8')
    made = keys.openssl('x509', '-req', '-days', '3650', '-sha256', '-CA', folder / (authority + '.crt'), '-CAkey', folder / (authority + '.key'),
                        '-CAcreateserial', '-extfile', folder / (name + '.ext'), data=request)
    keys.private(folder / (name + '.crt'), made)


def server(folder, host):
    """The certificate, without its suffix, of a server at localhost and at this address; made if it is not there yet."""
    name = 'server' if host == LOOPBACK else 'server-' + host.replace('.', '-')
    _signed(folder, name, 'ca', '/CN=localhost', SERVER % host)
    return folder / name


def make(folder, tenancy, instance, compartment):
    """All keys and certificates that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _authority(folder, 'ca', '/CN=ocne lab OCI CA')
    server(folder, LOOPBACK)
    # the subject of an instance's certificate is where the SDK finds the tenancy; openssl holds CN, O and OU to 64 characters
    _authority(folder, 'intermediate', '/CN=ocne lab instances')
    _signed(folder, 'instance', 'intermediate',
            '/CN=instance/OU=opc-certtype:instance/description=opc-compartment:%s/description=opc-instance:%s/description=opc-tenant:%s' % (
                compartment, instance, tenancy), 'extendedKeyUsage=clientAuth\n')
    for name in ('token', 'user', 'session'):
        keys.make_key(folder / (name + '.key'))
