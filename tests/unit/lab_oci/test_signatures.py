# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose a request is: signatures as the SDK makes them, and the ways in which they are wrong."""
import base64

import pytest

oci = pytest.importorskip('oci')
Storage = pytest.importorskip('oci.object_storage').ObjectStorageClient


def refused(call, *args, **kwargs):
    """The service's fault of a call."""
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_an_api_key(cloud):
    assert cloud.storage.get_namespace().data == cloud.namespace


def test_no_signature(cloud):
    status, answer = cloud.raw('GET', '/n', signed=False)
    assert (status, answer) == (401, {'code': 'NotAuthenticated', 'message': 'The required information to complete authentication was not provided.'})


@pytest.mark.parametrize('field', ['fingerprint', 'user', 'tenancy'])
def test_an_unknown_key(cloud, field):
    wrong = {'fingerprint': ':'.join(['00'] * 16), 'user': 'ocid1.user.oc1..nobody', 'tenancy': 'ocid1.tenancy.oc1..nobody'}[field]
    fault = refused(cloud.client(Storage, **{field: wrong}).get_namespace)
    assert (fault.status, fault.code) == (401, 'NotAuthenticated')
    assert fault.headers['opc-request-id']


def test_another_private_key(cloud, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / 'key.pem').write_bytes(pem)
    assert refused(cloud.client(Storage, key_file=str(tmp_path / 'key.pem')).get_namespace).status == 401
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    fingerprint = cloud.control.register(public)
    assert cloud.client(Storage, key_file=str(tmp_path / 'key.pem'), fingerprint=fingerprint).get_namespace().data == cloud.namespace


@pytest.mark.parametrize('offset,status', [(290, 200), (-290, 200), (330, 401), (-330, 401)])
def test_clock_skew(cloud, offset, status):
    cloud.control.set(clock_offset=offset)
    got, answer = cloud.raw('GET', '/n')
    assert got == status
    if status == 401:
        assert 'is not within allowed clock skew. Current' in answer['message']


def tampering(change):
    """A signer of the SDK whose request changes after it was signed."""
    class Signer(oci.signer.Signer):
        def __call__(self, request, enforce_content_headers=True):
            request = super().__call__(request, enforce_content_headers)
            change(request)
            return request
    return Signer


def change_body(request):
    request.body = request.body.replace(b'b1', b'b2')


def change_target(request):
    request.url = request.url.replace('compartmentId', 'compartmentid')


def change_signature(request):
    request.headers['authorization'] = request.headers['authorization'].replace('signature="', 'signature="AAAA')


def drop_digest(request):
    request.headers['authorization'] = request.headers['authorization'].replace(' x-content-sha256"', '"')


@pytest.mark.parametrize('change', [change_body, change_target, change_signature, drop_digest])
def test_what_was_signed_is_what_came(cloud, change):
    signer = tampering(change).from_config(oci.config.from_file(cloud.about['config']))
    # from_config makes the plain class
    signer = tampering(change)(*(oci.config.from_file(cloud.about['config'])[name] for name in ('tenancy', 'user', 'fingerprint', 'key_file')))
    if change is change_target:
        status, answer = cloud.raw('GET', '/n?compartmentId=' + cloud.compartment, signer=signer)
    else:
        status, answer = cloud.raw('POST', '/n/%s/b' % cloud.namespace, body=b'{"name": "b1", "compartmentId": "%s"}' % cloud.compartment.encode(),
                                   headers={'content-type': 'application/json'}, signer=signer)
    assert (status, answer['code']) == (401, 'NotAuthenticated')


def test_bodies_of_objects_need_no_signature_but_all_others_do(cloud):
    bucket = cloud.bucket()
    signer = oci.signer.Signer.from_config(oci.config.from_file(cloud.about['config'])).without_content_headers
    assert cloud.raw('PUT', '/n/%s/b/%s/o/x' % (cloud.namespace, bucket), body=b'data', signer=signer)[0] == 200
    status, _answer = cloud.raw('POST', '/n/%s/b/%s/u' % (cloud.namespace, bucket), body=b'{"object": "x"}', signer=signer,
                                headers={'content-type': 'application/json'})
    assert status == 401


def session(cloud, token):
    """A client that signs with the session's token."""
    config = oci.config.from_file(cloud.about['config'], 'SESSION')
    key = oci.signer.load_private_key_from_file(config['key_file'])
    return cloud.client(Storage, signer=oci.auth.signers.SecurityTokenSigner(token, key))


def test_a_session_token(cloud):
    with open(oci.config.from_file(cloud.about['config'], 'SESSION')['security_token_file'], encoding='utf-8') as file:
        token = file.read()
    assert session(cloud, token).get_namespace().data == cloud.namespace
    head, payload, signature = token.split('.')
    forged = base64.urlsafe_b64decode(payload + '==').replace(cloud.about['user'].encode(), b'ocid1.user.oc1..other')
    assert refused(session(cloud, '.'.join([head, base64.urlsafe_b64encode(forged).decode().rstrip('='), signature])).get_namespace).status == 401


def test_a_session_token_expires(cloud):
    assert refused(session(cloud, cloud.control.session(-1)).get_namespace).status == 401
    assert session(cloud, cloud.control.session(60)).get_namespace().data == cloud.namespace


def test_an_instance(cloud, monkeypatch):
    monkeypatch.setenv('OCI_METADATA_BASE_URL', cloud.about['metadata'] + '/opc/v2')
    signer = oci.auth.signers.InstancePrincipalsSecurityTokenSigner(federation_endpoint=cloud.about['federation'],
                                                                    federation_client_cert_bundle_verify=cloud.about['ca'])
    assert (signer.region, signer.tenancy_id) == (cloud.about['region'], cloud.about['tenancy'])
    client = cloud.client(Storage, signer=signer)
    assert client.get_namespace().data == cloud.namespace
    # its token has expired for the service: the SDK gets another, once
    cloud.control.forget()
    cloud.control.faults({'kind': '401', 'times': 1, 'operations': ['get_namespace']})
    assert client.get_namespace().data == cloud.namespace
    assert cloud.control.counters()['operations'] == {'get_namespace': 2, 'federate': 1}


def test_expired_credentials(cloud):
    cloud.control.set(credentials_expired=True)
    assert refused(cloud.storage.get_namespace).status == 401


def test_a_certificate_of_nobody_is_no_instance(cloud, monkeypatch):
    monkeypatch.setenv('OCI_METADATA_BASE_URL', cloud.about['metadata'] + '/opc/v2')
    status, answer = cloud.raw('POST', '/v1/x509', body=b'{"certificate": "AAAA", "publicKey": "AAAA"}', headers={'content-type': 'application/json'})
    assert (status, answer['code']) == (400, 'CannotParseRequest')
