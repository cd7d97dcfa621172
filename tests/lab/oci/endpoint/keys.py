# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""RSA keys, certificates and tokens: made by openssl, checked here."""
import base64
import hashlib
import hmac
import json
import os
import subprocess

import common

# DER of DigestInfo for SHA-256 (RFC 8017, 9.2): what a PKCS#1 v1.5 signature pads.
SHA256_PREFIX = bytes.fromhex('3031300d060960864801650304020105000420')


def openssl(*argv, data=None):
    """What openssl says, as bytes; LabError where it refuses."""
    common.need({'openssl': 'openssl'})
    done = subprocess.run(['openssl'] + [str(a) for a in argv], input=data, capture_output=True, check=False)
    if done.returncode:
        raise common.LabError('openssl %s: %s' % (argv[0], done.stderr.decode(errors='replace').strip()))
    return done.stdout


def private(path, data):
    """Write a file that only its owner reads; it appears at once."""
    part = path.with_name(path.name + '.part')
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'wb') as handle:
        handle.write(data)
    os.replace(part, path)


def make_key(path):
    """A new RSA key in a file, unless it is there."""
    if not path.exists():
        private(path, openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'))


def public_pem(path):
    """The public half of a private key file, as PEM text."""
    return openssl('pkey', '-in', path, '-pubout').decode()


def fingerprint(pem):
    """As the service names an API key: the MD5 of the public key's DER, in pairs."""
    digest = hashlib.md5(der(pem)).hexdigest()
    return ':'.join(digest[at:at + 2] for at in range(0, 32, 2))


def der(pem):
    """The bytes between the lines of a PEM block."""
    return base64.b64decode(''.join(line for line in pem.strip().splitlines() if not line.startswith('-----')))


def _element(data, at):
    """(content, offset after it) of the DER element at an offset."""
    length, start = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7f
        length, start = int.from_bytes(data[start:start + size], 'big'), start + size
    if start + length > len(data):
        raise ValueError('truncated DER')
    return data[start:start + length], start + length


def numbers(spki):
    """(n, e) of an RSA public key in SubjectPublicKeyInfo (RFC 5280); ValueError for what is none."""
    try:
        outer, _end = _element(spki, 0)
        algorithm, end = _element(outer, 0)
        if bytes.fromhex('06092a864886f70d010101') not in algorithm:
            raise ValueError('not an RSA key')
        bits, _end = _element(outer, end)
        inner, _end = _element(bits, 1)      # the first byte of a bit string counts unused bits
        modulus, end = _element(inner, 0)
        exponent, _end = _element(inner, end)
    except IndexError as fault:
        raise ValueError('truncated DER') from fault
    return int.from_bytes(modulus, 'big'), int.from_bytes(exponent, 'big')


def verify(key, message, signature):
    """Is it that key's signature, RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2.2)?"""
    modulus, exponent = key
    size = (modulus.bit_length() + 7) // 8
    if len(signature) != size:
        return False
    digest = SHA256_PREFIX + hashlib.sha256(message).digest()
    wanted = b'\0\1' + b'\xff' * (size - len(digest) - 3) + b'\0' + digest
    return hmac.compare_digest(pow(int.from_bytes(signature, 'big'), exponent, modulus).to_bytes(size, 'big'), wanted)


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=')


def _bytes(part):
    return base64.urlsafe_b64decode(part + '=' * (-len(part) % 4))


def make_token(path, claims, spki):
    """A JSON Web Token of the key in a file; it carries the public key that its bearer signs with."""
    modulus, exponent = numbers(spki)
    sizes = [(value.bit_length() + 7) // 8 for value in (modulus, exponent)]
    parts = [_part(value.to_bytes(size, 'big')).decode() for value, size in zip((modulus, exponent), sizes)]
    claims = dict(claims, jwk=json.dumps({'kty': 'RSA', 'n': parts[0], 'e': parts[1], 'alg': 'RS256', 'use': 'sig'}))
    head = _part(json.dumps({'alg': 'RS256', 'kid': 'ocne-lab'}).encode()) + b'.' + _part(json.dumps(claims).encode())
    return (head + b'.' + _part(openssl('dgst', '-sha256', '-sign', path, data=head))).decode()


def read_token(key, token):
    """(claims, its bearer's key) of a token that this key signed; ValueError for any other."""
    head, _dot, signature = token.rpartition('.')
    if not verify(key, head.encode(), _bytes(signature)):
        raise ValueError('not our token')
    claims = json.loads(_bytes(head.partition('.')[2]))
    jwk = json.loads(claims['jwk'])
    return claims, tuple(int.from_bytes(_bytes(jwk[name]), 'big') for name in ('n', 'e'))
