# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all requests share: the store, the settings, the tenancy, and who may call."""
import json
import secrets
import threading
import traceback

from . import keys, pki
from .errors import not_authenticated, not_found
from .faults import Counters, Faults
from .federation import Tokens
from .store import Store

REGIONS = {'us-ashburn-1': 'IAD', 'eu-frankfurt-1': 'FRA'}
HOME = 'us-ashburn-1'
# What tests may change while the endpoint runs.
SETTINGS = {
    'rate': 0,                      # bytes a second of each connection; 0: as fast as it goes
    'page_size': 5,                 # most items of a page, whatever the client's limit
    'clock_offset': 0,              # seconds that the endpoint's clock is ahead
    'retry_after': 1,               # seconds, in the header of a 429
    'retry_after_dates': False,     # the header has a date instead of seconds
    'credentials_expired': False,   # nobody's signature is good any more
    'token_seconds': 1200,          # an instance's token is good for this long
    'import_seconds': 1.0,          # an import takes this long, and the time to read the bytes
    'import_outcome': 'SUCCEEDED',  # or FAILED or CANCELED, whatever the bytes are
    'image_limit': 100,             # custom images of a region
    'bucket_limit': 10000,
    'denied': [],                   # OCIDs of compartments that the caller may not see
}
COMPARTMENTS = (('images', None), ('team', None), ('builds', 'team'), ('images', 'team'), ('sandbox', None))


def ocid(kind, region=''):
    """A new OCID, in the documented form."""
    return 'ocid1.%s.oc1.%s.%s' % (kind, region, 'aaaaaaaa' + secrets.token_hex(26))


class Service:
    """One lab tenancy in its state folder."""

    def __init__(self, state):
        self.state = state
        self.store = Store(state)
        self.faults = Faults()
        self.counters = Counters()
        self.lock = threading.RLock()
        self.notes = []
        self.urls = {}
        self._load_settings()
        self._found()
        pki.make(state / 'pki', self.tenancy, self.instance, self.compartments['images'])
        self._keys = {}
        self._register_user()
        self.tokens = Tokens(self)

    def _load_settings(self):
        self.settings = dict(SETTINGS, **(self.store.get('settings', 'now') or {}))

    def change(self, settings):
        """New values of settings; ValueError for an unknown name or another type."""
        for name, value in settings.items():
            known = SETTINGS.get(name)
            number = isinstance(known, (int, float)) and not isinstance(known, bool)
            if known is None or not isinstance(value, (int, float) if number else type(known)) or number and isinstance(value, bool):
                raise ValueError('no such setting: %s=%r' % (name, value))
        with self.lock:
            self.store.put('settings', 'now', dict(self.settings, **settings))
            self.settings.update(settings)

    def _found(self):
        """The tenancy and its compartments, made once."""
        about = self.store.get('tenancy', 'this')
        if about is None:
            tenancy = ocid('tenancy')
            about = {'tenancy': tenancy, 'user': ocid('user'), 'instance': ocid('instance', 'iad'), 'namespace': 'lab' + secrets.token_hex(4),
                     'name': 'ocnelab'}
            made = {None: tenancy}
            for name, parent in COMPARTMENTS:
                identity = ocid('compartment')
                made.setdefault(name, identity)
                self.store.put('compartment', identity, {'name': name, 'parent': made[parent], 'created': 1700000000 + len(made), 'state': 'ACTIVE'})
            gone = ocid('compartment')
            self.store.put('compartment', gone, {'name': 'old', 'parent': tenancy, 'created': 1690000000, 'state': 'DELETED'})
            self.store.put('tenancy', 'this', about)
        self.tenancy, self.user, self.instance = about['tenancy'], about['user'], about['instance']
        self.namespace, self.name = about['namespace'], about['name']
        self.compartments = {self.compartment_path(key): key for key, record in self.store.all('compartment') if record['state'] == 'ACTIVE'}

    def compartment_path(self, identity):
        """parent/child, from the tenancy."""
        names = []
        while identity != self.tenancy:
            record = self.store.get('compartment', identity)
            names.append(record['name'])
            identity = record['parent']
        return '/'.join(reversed(names))

    def _register_user(self):
        pem = keys.public_pem(self.state / 'pki' / 'user.key')
        self.add_key(pem)
        self.fingerprint = keys.fingerprint(pem)

    def add_key(self, pem):
        """Register a public key for the user's API signing; its fingerprint."""
        name = keys.fingerprint(pem)
        self._keys['%s/%s/%s' % (self.tenancy, self.user, name)] = keys.numbers(keys.der(pem))
        return name

    def api_key(self, key_id):
        """(principal, key) of a keyId `tenancy/user/fingerprint`, or None."""
        key = self._keys.get(key_id)
        return key and ({'kind': 'user', 'id': self.user}, key)

    def compartment(self, identity):
        """The OCID itself, if it is a compartment that the caller may see; ServiceError 404 else."""
        if identity in self.settings['denied']:
            raise not_found()
        if identity != self.tenancy:
            record = self.store.get('compartment', identity)
            if record is None or record['state'] != 'ACTIVE':
                raise not_found()
        return identity

    def region_of(self, address):
        """The region whose endpoint has that `host:port`, or None."""
        port = address.rpartition(':')[2]
        return next((region for region, url in self.urls.items() if url.rpartition(':')[2] == port), None)

    def session(self, seconds):
        """A session token of the user, as `oci session authenticate` gets one, for the key session.key."""
        return self.tokens.make('user', self.user, keys.der(keys.public_pem(self.state / 'pki' / 'session.key')), seconds)

    def note(self, operation, fault):
        """A fault of the endpoint itself: kept for whoever runs the tests, and in the log."""
        traceback.print_exception(type(fault), fault, fault.__traceback__)
        with self.lock:
            self.notes.append('%s: %r' % (operation, fault))

    def left(self):
        """What there is, for tests that look at what was left behind."""
        buckets = {record['bucket']: record['name'] for _key, record in self.store.all('bucket')}
        return {
            'buckets': sorted(buckets.values()),
            'objects': sorted('%s/%s' % (buckets[r['bucket']], r['name']) for _key, r in self.store.all('object')),
            'uploads': sorted('%s/%s' % (buckets[r['bucket']], r['object']) for _key, r in self.store.all('upload')),
            'pars': sorted(record['name'] for _key, record in self.store.all('par')),
            'images': {key: record['state'] for key, record in self.store.all('image')},
            'schemas': sorted(key for key, _record in self.store.all('schema')),
            'work_requests': {key: record['status'] for key, record in self.store.all('workrequest')},
            'blobs': len(list(self.store.blobs.iterdir())),
            'faults_of_the_lab': list(self.notes)}

    def save(self, name, about):
        """A JSON file in the state folder that only its owner reads."""
        keys.private(self.state / name, (json.dumps(about, indent=1) + '\n').encode())


def caller(request):
    """The OCID of whoever called; ServiceError 401 for nobody."""
    if request.principal is None:
        raise not_authenticated()
    return request.principal['id']
