# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests with a mistake get the service's error; the SDK would not send most of these, so they are signed by hand."""
import http.client
import json
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

oci = pytest.importorskip('oci')
LAB = Path(__file__).resolve().parents[2] / 'lab'
JSON = {'content-type': 'application/json'}


def test_the_specification_is_that_of_this_sdk():
    done = subprocess.run([sys.executable, LAB / 'oci' / 'endpoint' / 'specification.py', '--check'], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_operation_of_the_specification_is_served():
    sys.path.extend([str(LAB), str(LAB / 'oci')])
    from endpoint import api, operations
    assert set(operations.TABLE) == set(api.OPERATIONS)


@pytest.mark.parametrize('method,path,status,code', [
    ('GET', '/20160918/nothing', 404, 'NotFound'),
    ('GET', '/images', 404, 'NotFound'),
    ('DELETE', '/n', 405, 'MethodNotAllowed'),
    ('GET', '/n?other=1', 400, 'InvalidParameter'),
    ('GET', '/20160918/images', 400, 'MissingParameter'),
    ('GET', '/20160918/images?compartmentId={c}&limit=0', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId={c}&limit=1001', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId={c}&limit=x', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId={c}&page=x', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId={c}&compartmentId={c}', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId={c}&lifecycleState=READY', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId={c}&sortOrder=ASC', 400, 'InvalidParameter'),
    ('GET', '/20160918/images?compartmentId=ocid1.compartment.oc1..none', 404, 'NotAuthorizedOrNotFound'),
    ('GET', '/20160918/images/ocid1.image.oc1..none', 404, 'NotAuthorizedOrNotFound'),
    ('GET', '/20160918/workRequests/none', 404, 'NotAuthorizedOrNotFound'),
])
def test_paths_and_parameters(cloud, method, path, status, code):
    got, answer = cloud.raw(method, path.format(c=cloud.compartment))
    assert (got, answer['code']) == (status, code) and answer['message']


@pytest.mark.parametrize('change,status,code', [
    ({'name': None}, 400, 'MissingParameter'),
    ({'compartmentId': None}, 400, 'MissingParameter'),
    ({'colour': 'red'}, 400, 'CannotParseRequest'),
    ({'objectEventsEnabled': 'yes'}, 400, 'CannotParseRequest'),
    ({'metadata': []}, 400, 'CannotParseRequest'),
    ({'freeformTags': {'a': 1}}, 400, 'CannotParseRequest'),
    ({'storageTier': 'Cold'}, 400, 'InvalidParameter'),
    ({'name': 'a/b'}, 400, 'InvalidBucketName'),
])
def test_bodies(cloud, change, status, code):
    body = dict({'name': 'strict', 'compartmentId': cloud.compartment}, **change)
    got, answer = cloud.raw('POST', '/n/%s/b' % cloud.namespace, body=json.dumps(body).encode(), headers=JSON)
    assert (got, answer['code']) == (status, code)


def test_bodies_that_are_none(cloud):
    path = '/n/%s/b' % cloud.namespace
    assert cloud.raw('POST', path, body=b'{', headers=JSON)[1]['code'] == 'CannotParseRequest'
    assert cloud.raw('POST', path, body=b'{}', headers={'content-type': 'text/plain'})[0] == 415
    assert cloud.raw('POST', path, body=b'', headers=JSON)[1]['code'] == 'MissingParameter'
    assert cloud.raw('POST', path, body=b' ' * (2 << 20), headers=JSON)[0] == 413


@pytest.mark.parametrize('headers', [{'opc-retry-token': 'x'}, {'range': 'bytes=0-1'}, {'if-match': 'x'}, {'opc-multipart': 'true'}])
def test_headers_that_an_operation_does_not_know(cloud, headers):
    status, answer = cloud.raw('GET', '/n', headers=headers)
    assert (status, answer['code']) == (400, 'InvalidParameter')


def test_sources_of_images(cloud):
    def create(source, **more):
        body = dict({'compartmentId': cloud.compartment, 'imageSourceDetails': source}, **more)
        status, answer = cloud.raw('POST', '/20160918/images', body=json.dumps(body).encode(), headers=JSON)
        return status, answer['code']
    assert create({}) == (400, 'MissingParameter')
    assert create({'sourceType': 'file'}) == (400, 'InvalidParameter')
    assert create({'sourceType': 'objectStorageTuple', 'bucketName': 'b', 'namespaceName': 'n'}) == (400, 'MissingParameter')
    assert create({'sourceType': 'objectStorageUri', 'sourceUri': 'https://elsewhere/x'}) == (400, 'InvalidParameter')
    assert create({'sourceType': 'objectStorageUri', 'sourceUri': 'x', 'sourceImageType': 'RAW'}) == (400, 'InvalidParameter')
    assert create({'sourceType': 'objectStorageUri', 'sourceUri': 'x'}, launchMode='FAST') == (400, 'InvalidParameter')


def test_a_page_belongs_to_its_list(cloud):
    cloud.control.set(page_size=1)
    page = cloud.identity.list_compartments(cloud.about['tenancy']).headers['opc-next-page']
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        cloud.identity.list_compartments(cloud.about['tenancy'], page=page, sort_by='NAME')
    assert (caught.value.status, caught.value.code) == (400, 'InvalidParameter')


def test_an_object_needs_its_length(cloud):
    uri = cloud.par(cloud.bucket(), 'ObjectWrite', 'x').access_uri
    connection = http.client.HTTPSConnection('localhost', urlsplit(cloud.about['endpoint']).port, timeout=20,
                                             context=ssl.create_default_context(cafile=cloud.about['ca']))
    connection.request('PUT', uri, body=iter([b'data']), headers={'transfer-encoding': 'chunked'}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)['code']) == (411, 'ContentLengthRequired')
    connection.close()
