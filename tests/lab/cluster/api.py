# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""As much of a Kubernetes client as the lab needs, with the administrator's certificate; from inside the lab's network."""
import http.client
import json
import ssl

import common
from cluster import lab

APPLY = 'application/apply-patch+yaml'


class Api:
    """One connection for each request: few are made, and the server may restart between two."""

    def __init__(self, pki):
        self._tls = ssl.create_default_context(cafile=str(pki / 'ca.crt'))
        self._tls.load_cert_chain(str(pki / 'admin.crt'), str(pki / 'admin.key'))

    def request(self, method, path, body=None, kind='application/json', timeout=10):
        """(status, answer)"""
        connection = http.client.HTTPSConnection(lab.GATEWAY, 443, context=self._tls, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {'Content-Type': kind, 'Accept': 'application/json'})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        is_json = (response.getheader('Content-Type') or '').startswith('application/json')
        return response.status, json.loads(data) if is_json else data.decode(errors='replace')

    def get(self, path):
        """What is there, or None: also while the server is not yet."""
        try:
            status, answer = self.request('GET', path, timeout=5)
        except (OSError, http.client.HTTPException):
            return None
        return answer if status == 200 else None

    def apply(self, path, item):
        """Make an object be as given, whoever made it before."""
        status, answer = self.request('PATCH', path + '?fieldManager=ocne-lab&force=true', item, APPLY)
        if status not in (200, 201):
            raise common.LabError('the API server refuses %s: %s' % (path, answer.get('message', answer) if isinstance(answer, dict) else answer))
        return answer
