# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the endpoint leaves in its state folder for its users: endpoint.json, and a config file with keys as the SDK and oci-cli read it."""
import json

from . import keys
from .service import HOME, REGIONS

PROFILE = '[%(profile)s]\nuser=%(user)s\nfingerprint=%(fingerprint)s\nkey_file=%(key)s\ntenancy=%(tenancy)s\nregion=%(region)s\n'


def load(state):
    """endpoint.json of this folder; {} where there is none."""
    try:
        return json.loads((state / 'endpoint.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}


def write_files(service, home, urls):
    """Write all; endpoint.json comes last, when the endpoint is ready."""
    state, pki = service.state, service.state / 'pki'
    about = {'user': service.user, 'fingerprint': service.fingerprint, 'key': pki / 'user.key', 'tenancy': service.tenancy, 'region': HOME}
    keys.private(state / 'session_token', service.session(3600).encode())
    text = PROFILE % dict(about, profile='DEFAULT')
    # the profile as `oci session authenticate` writes one
    session = dict(about, profile='SESSION', key=pki / 'session.key', fingerprint=keys.fingerprint(keys.public_pem(pki / 'session.key')))
    text += '\n' + PROFILE % session + 'security_token_file=%s\n' % (state / 'session_token')
    keys.private(state / 'config', text.encode())
    service.save('endpoint.json', {
        'endpoint': home, 'regions': {region: urls[region] for region in REGIONS}, 'region': HOME, 'ca': str(pki / 'ca.crt'), 'config': str(state / 'config'),
        'profile': 'DEFAULT', 'session_profile': 'SESSION', 'key_file': str(pki / 'user.key'), 'tenancy': service.tenancy, 'user': service.user,
        'fingerprint': service.fingerprint, 'namespace': service.namespace, 'compartments': service.compartments, 'metadata': urls['metadata'],
        'federation': home + '/v1/x509', 'control': urls['control'], 'state': str(state)})
