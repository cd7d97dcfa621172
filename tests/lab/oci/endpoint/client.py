# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The switches and counters of a running endpoint, for tests."""
import json
import urllib.error
import urllib.request


class Control:
    """Speaks to the control URL of `up`."""

    def __init__(self, url):
        self._url = url
        # an environment with a proxy must not send this out
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _call(self, method, path, body=None):
        request = urllib.request.Request(self._url + path, method=method, data=None if body is None else json.dumps(body).encode())
        try:
            with self._opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            with fault:
                raise ValueError(fault.read().decode()) from fault

    def set(self, **settings):
        """Change settings (service.SETTINGS); gives all."""
        return self._call('PUT', '/settings', settings)

    def settings(self):
        """The settings as they are."""
        return self._call('GET', '/settings')

    def faults(self, *faults, seed=0):
        """Ask for these faults (faults.py) from now on, instead of those before; none: no more faults."""
        self._call('PUT', '/faults', {'faults': list(faults), 'seed': seed})

    def counters(self):
        """What came in since the start, or since forget()."""
        return self._call('GET', '/counters')

    def forget(self):
        """Count from nothing; faults of the lab itself are forgotten, too."""
        self._call('DELETE', '/counters')

    def left(self):
        """Buckets, objects, uploads, pre-authenticated requests and images that there are, and faults of the lab itself."""
        return self._call('GET', '/left')

    def register(self, public_key):
        """One more API key of the user (PEM); its fingerprint."""
        return self._call('POST', '/keys', {'public_key': public_key})['fingerprint']

    def session(self, seconds):
        """A session token of the user for the key of the profile SESSION."""
        return self._call('POST', '/sessions', {'seconds': seconds})['token']
