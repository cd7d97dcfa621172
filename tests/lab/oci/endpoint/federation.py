# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tokens of sessions and of instances, and the auth service's /v1/x509, where an instance changes its certificate for a token."""
import base64
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from . import clock, keys, signatures
from .errors import cannot_parse, missing, not_authenticated
from .messages import Answer


def _pem(text, kind):
    """The SDK sends the text of a PEM block without its lines."""
    lines = [text[at:at + 64] for at in range(0, len(text), 64)]
    return '-----BEGIN %s-----\n%s\n-----END %s-----\n' % (kind, '\n'.join(lines), kind)


class Tokens:
    """Makes tokens, and knows who their bearer is."""

    def __init__(self, service):
        self._service = service
        self._pki = service.state / 'pki'
        self._key = keys.numbers(keys.der(keys.public_pem(self._pki / 'token.key')))

    def make(self, kind, subject, spki, seconds):
        """A token for that bearer, good for so many seconds."""
        now = int(clock.now(self._service.settings))
        claims = {'sub': subject, 'iss': 'auth.lab', 'ptype': kind, 'tenant': self._service.tenancy, 'iat': now, 'exp': now + int(seconds)}
        return keys.make_token(self._pki / 'token.key', claims, spki)

    def principal(self, token):
        """(principal, key) of a token that is ours and has not expired; ServiceError 401 else."""
        try:
            claims, key = keys.read_token(self._key, token)
        except (ValueError, KeyError) as fault:
            raise not_authenticated() from fault
        if claims['exp'] <= clock.now(self._service.settings):
            raise not_authenticated()
        return {'kind': claims['ptype'], 'id': claims['sub']}, key

    def _check_certificate(self, leaf, intermediates):
        """The instance's certificate comes from the lab's authority, and no other."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / 'leaf').write_text(leaf, encoding='utf-8')
            if keys.der((self._pki / 'intermediate.crt').read_text(encoding='utf-8')) not in [keys.der(one) for one in intermediates]:
                raise not_authenticated()
            done = subprocess.run(['openssl', 'verify', '-CAfile', self._pki / 'intermediate.crt', Path(folder) / 'leaf'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            if done.returncode:
                raise not_authenticated()

    def federate(self, request):
        """POST /v1/x509: {certificate, publicKey, intermediateCertificates} signed by the certificate's key; gives {token}."""
        try:
            body = json.loads(request.raw)
            leaf, public = _pem(body['certificate'], 'CERTIFICATE'), base64.b64decode(body['publicKey'], validate=True)
            intermediates = [_pem(one, 'CERTIFICATE') for one in body.get('intermediateCertificates', [])]
            keys.numbers(public)
        except KeyError as fault:
            raise missing('%s may not be null' % fault) from fault
        except (ValueError, TypeError, AttributeError) as fault:
            raise cannot_parse('The request body is not valid') from fault
        self._check_certificate(leaf, intermediates)
        digest = hashlib.sha1(keys.der(leaf)).hexdigest().upper()
        wanted = '%s/fed-x509/%s' % (self._service.tenancy, ':'.join(digest[at:at + 2] for at in range(0, 40, 2)))
        spki = keys.der(keys.openssl('x509', '-noout', '-pubkey', data=leaf.encode()).decode())

        def find(key_id):
            if key_id != wanted:
                raise not_authenticated()
            return {'kind': 'instance', 'id': self._service.instance}, keys.numbers(spki)
        principal = signatures.check(self._service, request, ('(request-target)',) + signatures.OF_BODY, find)
        return Answer(200, {'token': self.make('instance', principal['id'], public, self._service.settings['token_seconds'])})
