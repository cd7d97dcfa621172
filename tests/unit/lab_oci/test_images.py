# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute, Work Requests and Identity: from an object to an image, its schema and its shapes."""
import io
import json
import subprocess
import tarfile
import time

import pytest

oci = pytest.importorskip('oci')
models = pytest.importorskip('oci.core').models


def refused(call, *args, **kwargs):
    """(status, code) of the service's fault."""
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call(*args, **kwargs)
    return caught.value.status, caught.value.code


def put(cloud, path):
    """(bucket, object) of a file."""
    bucket = cloud.bucket()
    with open(path, 'rb') as file:
        cloud.storage.put_object(cloud.namespace, bucket, 'disk', file)
    return bucket, 'disk'


def details(cloud, place, kind='QCOW2', name='ock', **kwargs):
    source = models.ImageSourceViaObjectStorageTupleDetails(bucket_name=place[0], namespace_name=cloud.namespace, object_name=place[1], source_image_type=kind,
                                                            operating_system='Oracle Linux', operating_system_version='8')
    return models.CreateImageDetails(compartment_id=cloud.compartment, display_name=name, image_source_details=source, launch_mode='PARAVIRTUALIZED', **kwargs)


def ended(cloud, made):
    """(work request, image) at the end of an import."""
    work, identity = cloud.work, made.headers['opc-work-request-id']
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        request = work.get_work_request(identity).data
        if request.status in ('SUCCEEDED', 'FAILED', 'CANCELED'):
            return request, cloud.compute.get_image(made.data.id).data
        time.sleep(0.05)
    raise AssertionError(request)


def imported(cloud, path, **kwargs):
    request, image = ended(cloud, cloud.compute.create_image(details(cloud, put(cloud, path), **kwargs)))
    assert (request.status, image.lifecycle_state) == ('SUCCEEDED', 'AVAILABLE')
    return image


def failure(cloud, path, kind):
    """Why the import of a file failed."""
    request, image = ended(cloud, cloud.compute.create_image(details(cloud, put(cloud, path), kind)))
    assert (request.status, image.lifecycle_state) == ('FAILED', 'DELETED')
    assert cloud.work.list_work_request_logs(request.id).data
    return cloud.work.list_work_request_errors(request.id).data[0].message


def test_an_import_over_time(cloud, disk):
    place = put(cloud, disk)
    cloud.control.set(import_seconds=4.0)
    tags = {'ocne/architecture': 'amd64', 'recipe': 'f' * 64}
    made = cloud.compute.create_image(details(cloud, place, freeform_tags=tags))
    assert (made.data.lifecycle_state, made.data.freeform_tags) == ('PROVISIONING', tags)
    states, percents = set(), set()
    while cloud.work.get_work_request(made.headers['opc-work-request-id']).data.status != 'SUCCEEDED':
        states.add(cloud.compute.get_image(made.data.id).data.lifecycle_state)
        percents.add(cloud.work.get_work_request(made.headers['opc-work-request-id']).data.percent_complete)
        time.sleep(0.02)
    request, image = ended(cloud, made)
    assert 'IMPORTING' in states and len(percents) > 3
    assert (image.lifecycle_state, image.size_in_mbs, image.operating_system, image.launch_options.firmware) == ('AVAILABLE', 8, 'Oracle Linux', 'BIOS')
    assert (request.percent_complete, request.operation_type, request.resources[0].identifier) == (100, 'CreateImage', image.id)
    assert request.time_finished > request.time_accepted


def test_an_import_by_url(cloud, disk):
    bucket, name = put(cloud, disk)
    for uri in (cloud.par(bucket, 'ObjectRead', name).full_path, '%s/n/%s/b/%s/o/%s' % (cloud.about['endpoint'], cloud.namespace, bucket, name)):
        source = models.ImageSourceViaObjectStorageUriDetails(source_uri=uri, source_image_type='QCOW2')
        made = cloud.compute.create_image(models.CreateImageDetails(compartment_id=cloud.compartment, image_source_details=source))
        assert ended(cloud, made)[1].lifecycle_state == 'AVAILABLE'
    source.source_uri = cloud.par(bucket, 'ObjectWrite', name).full_path
    wrong = models.CreateImageDetails(compartment_id=cloud.compartment, image_source_details=source)
    assert refused(cloud.compute.create_image, wrong) == (400, 'InvalidParameter')


def test_an_instance_needs_a_url(cloud, disk, monkeypatch):
    monkeypatch.setenv('OCI_METADATA_BASE_URL', cloud.about['metadata'] + '/opc/v2')
    signer = oci.auth.signers.InstancePrincipalsSecurityTokenSigner(federation_endpoint=cloud.about['federation'],
                                                                    federation_client_cert_bundle_verify=cloud.about['ca'])
    with pytest.raises(oci.exceptions.ServiceError, match='Invalid objectName'):
        cloud.client(oci.core.ComputeClient, signer=signer).create_image(details(cloud, put(cloud, disk)))


def test_an_object_that_is_not_there(cloud):
    assert refused(cloud.compute.create_image, details(cloud, (cloud.bucket(), 'none'))) == (400, 'InvalidParameter')


def test_an_object_that_goes_too_early(cloud, disk):
    place = put(cloud, disk)
    cloud.control.set(import_seconds=4.0)
    made = cloud.compute.create_image(details(cloud, place))
    cloud.storage.delete_object(cloud.namespace, *place)
    assert ended(cloud, made)[0].status == 'FAILED'


def shape(tmp_path, disk, name, *argv):
    made = tmp_path / name
    subprocess.run(['qemu-img', 'convert', '-f', 'qcow2', str(disk), *argv, str(made)], check=True)
    return made


@pytest.mark.parametrize('subformat,sound', [('monolithicSparse', True), ('streamOptimized', True), ('monolithicFlat', False)])
def test_vmdk(cloud, tmp_path, disk, subformat, sound):
    path = shape(tmp_path, disk, 'disk.vmdk', '-O', 'vmdk', '-o', 'subformat=' + subformat)
    if sound:
        assert imported(cloud, path, kind='VMDK').size_in_mbs == 8
    else:
        assert 'VMDK' in failure(cloud, path, 'VMDK')


def test_images_that_cannot_be_imported(cloud, tmp_path, disk):
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', str(disk), '-F', 'qcow2', str(tmp_path / 'overlay')], check=True)
    assert 'backing file' in failure(cloud, tmp_path / 'overlay', 'QCOW2')
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', str(tmp_path / 'large'), '401G'], check=True)
    assert '400 GB' in failure(cloud, tmp_path / 'large', 'QCOW2')
    assert 'compression' in failure(cloud, shape(tmp_path, disk, 'zstd', '-O', 'qcow2', '-c', '-o', 'compression_type=zstd'), 'QCOW2')
    assert 'VMDK' in failure(cloud, disk, 'VMDK')
    assert 'exported' in failure(cloud, disk, None)
    data = bytearray(disk.read_bytes())
    (tmp_path / 'cut').write_bytes(data[:len(data) // 2])
    assert 'corrupt' in failure(cloud, tmp_path / 'cut', 'QCOW2')


ABOUT = {'version': 2, 'externalLaunchOptions': {'firmware': 'UEFI_64', 'networkType': 'PARAVIRTUALIZED'}, 'operatingSystem': 'OCK',
         'operatingSystemVersion': '1.33'}


def member(name, data=b'', **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def archive(path, *members, mode='w:gz'):
    with tarfile.open(path, mode) as opened:
        for info, data in members:
            opened.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize('mode', ['w', 'w:gz'])
@pytest.mark.parametrize('order', [1, -1])
def test_an_archive(cloud, tmp_path, disk, mode, order):
    about = dict(ABOUT, additionalMetadata={'shapeCompatibilities': [{'internalShapeName': 'VM.Standard.A1.Flex', 'ocpuConstraints': None}]})
    members = [member('image_metadata.json', json.dumps(about).encode()), member('output.QCOW2', disk.read_bytes())]
    image = imported(cloud, archive(tmp_path / 'x.oci', *members[::order], mode=mode), kind=None)
    assert (image.operating_system, image.launch_options.firmware) == ('OCK', 'UEFI_64')
    assert [entry.shape for entry in cloud.compute.list_image_shape_compatibility_entries(image.id).data] == ['VM.Standard.A1.Flex']


def test_archives_that_cannot_be_imported(cloud, tmp_path, disk):
    about, image = member('image_metadata.json', json.dumps(ABOUT).encode()), member('output.QCOW2', disk.read_bytes())
    for says, members in [
        ('metadata', [member('image_metadata.json', disk.read_bytes())]), ('unexpected', [about, about]), ('unexpected', [about, image, member('x')]),
        ('unexpected', [member('output.QCOW2', type=tarfile.SYMTYPE, linkname='/etc/passwd')]), ('unexpected', [member('/output.QCOW2')]),
        ('unexpected', [member('output.QCOW2', disk.read_bytes(), pax_headers={'GNU.sparse.map': '0,1', 'GNU.sparse.size': '1'})]),
        ('lacks image_metadata.json', [image]), ('lacks output.QCOW2', [about]), ('QCOW2', [about, member('output.QCOW2', b'text')]),
    ]:
        assert says in failure(cloud, archive(tmp_path / 'x.oci', *members), None)
    assert 'exported' in failure(cloud, archive(tmp_path / 'x.oci', about, image, mode='w:xz'), None)


@pytest.mark.parametrize('wrong', [
    {'version': 1}, {'externalLaunchOptions': None}, {'externalLaunchOptions': {'firmware': 'UEFI'}}, {'operatingSystem': ''}, {'operatingSystemVersion': 8},
    {'imageCapabilityData': '{}', 'imageCapsFormatVersion': '1'}, {'imageCapabilityData': '{"capabilities": {}}'}, {'more': 'x' * (1 << 20)},
    {'imageCapabilityData': {'capabilities': {}}, 'imageCapsFormatVersion': '1'}, {'additionalMetadata': {'shapeCompatibilities': ['VM.Standard.A1.Flex']}},
])
def test_metadata_that_is_not_valid(cloud, tmp_path, disk, wrong):
    members = member('image_metadata.json', json.dumps(dict(ABOUT, **wrong)).encode()), member('output.QCOW2', disk.read_bytes())
    assert 'metadata of the image archive is not valid' in failure(cloud, archive(tmp_path / 'x.oci', *members), None)


def test_an_archive_that_is_damaged(cloud, tmp_path, disk):
    path = archive(tmp_path / 'x.oci', member('image_metadata.json', json.dumps(ABOUT).encode()), member('output.QCOW2', disk.read_bytes()))
    data = path.read_bytes()
    for bent in (data[:-8] + bytes(4) + data[-4:], data[:-3], data[:len(data) // 2], data[:300] + bytes(100) + data[400:]):
        path.write_bytes(bent)
        assert 'exported' in failure(cloud, path, None)


def test_a_retry_token_makes_one_image(cloud, disk):
    wanted = details(cloud, put(cloud, disk), name='once')
    first = cloud.compute.create_image(wanted, opc_retry_token='token-' + wanted.image_source_details.bucket_name)
    again = cloud.compute.create_image(wanted, opc_retry_token='token-' + wanted.image_source_details.bucket_name)
    assert first.data.id == again.data.id
    wanted.display_name = 'twice'
    token = 'token-' + wanted.image_source_details.bucket_name
    assert refused(cloud.compute.create_image, wanted, opc_retry_token=token) == (409, 'InvalidRetryToken')
    ended(cloud, first)
    wanted.display_name = 'once'
    cloud.compute.delete_image(first.data.id)
    assert refused(cloud.compute.create_image, wanted, opc_retry_token=token) == (409, 'InvalidatedRetryToken')


@pytest.mark.parametrize('outcome', ['FAILED', 'CANCELED'])
def test_an_outcome_that_was_asked_for(cloud, disk, outcome):
    cloud.control.set(import_outcome=outcome)
    request, image = ended(cloud, cloud.compute.create_image(details(cloud, put(cloud, disk))))
    assert (request.status, image.lifecycle_state) == (outcome, 'DELETED')


def test_lists_and_changes(cloud, disk):
    place, compute = put(cloud, disk), cloud.compute
    made = [compute.create_image(details(cloud, place, name='list %d' % number)) for number in (2, 1)]
    for one in made:
        ended(cloud, one)
    cloud.control.set(page_size=1)
    found = oci.pagination.list_call_get_all_results(compute.list_images, cloud.compartment, sort_by='DISPLAYNAME', sort_order='ASC').data
    assert [one.display_name for one in found if one.display_name.startswith('list')] == ['list 1', 'list 2']
    assert compute.list_images(cloud.compartment, display_name='list 1').data[0].id == made[1].data.id
    changed = compute.update_image(made[0].data.id, models.UpdateImageDetails(display_name='new', freeform_tags={'a': 'b'},
                                                                              defined_tags={'operations': {'owner': 'me'}})).data
    assert (changed.display_name, changed.freeform_tags, changed.defined_tags) == ('new', {'a': 'b'}, {'operations': {'owner': 'me'}})
    many = models.UpdateImageDetails(freeform_tags={str(number): '' for number in range(11)})
    assert refused(compute.update_image, made[0].data.id, many) == (400, 'InvalidParameter')
    for key in ('a.b', 'a b', 'é', 'x' * 101):
        assert refused(compute.update_image, made[0].data.id, models.UpdateImageDetails(freeform_tags={key: ''})) == (400, 'InvalidParameter')
    unknown = models.UpdateImageDetails(defined_tags={'other': {'x': 'y'}})
    assert refused(compute.update_image, made[0].data.id, unknown) == (400, 'InvalidParameter')
    compute.delete_image(made[0].data.id)
    assert made[0].data.id in [one.id for one in oci.pagination.list_call_get_all_results(
        compute.list_images, cloud.compartment, lifecycle_state='DELETED').data]
    assert refused(compute.delete_image, made[0].data.id) == (404, 'NotAuthorizedOrNotFound')


def test_while_it_is_imported_it_cannot_be_changed(cloud, disk):
    place = put(cloud, disk)
    cloud.control.set(import_seconds=4.0)
    made = cloud.compute.create_image(details(cloud, place))
    assert refused(cloud.compute.delete_image, made.data.id) == (409, 'IncorrectState')
    assert refused(cloud.compute.add_image_shape_compatibility_entry, made.data.id, 'VM.Standard.A1.Flex') == (409, 'IncorrectState')
    assert ended(cloud, made)[0].status == 'SUCCEEDED'


def test_a_full_service_limit(cloud, disk):
    cloud.control.set(image_limit=0)
    assert refused(cloud.compute.create_image, details(cloud, put(cloud, disk))) == (400, 'LimitExceeded')


def test_a_capability_schema(cloud, disk):
    compute, image = cloud.compute, imported(cloud, disk)
    known = compute.list_compute_global_image_capability_schemas().data[0]
    versions = compute.list_compute_global_image_capability_schema_versions(known.id).data
    assert known.current_version_name == versions[0].name and len(versions) == 3
    data = compute.get_compute_global_image_capability_schema_version(known.id, known.current_version_name).data.schema_data
    assert data['Compute.Firmware'].values == ['BIOS', 'UEFI_64']

    def schema(**capabilities):
        wanted = {name.replace('_', '.', 1): models.EnumStringImageCapabilitySchemaDescriptor(source='IMAGE', values=[value], default_value=value)
                  for name, value in capabilities.items()}
        return models.CreateComputeImageCapabilitySchemaDetails(compartment_id=cloud.compartment, image_id=image.id, schema_data=wanted,
                                                                compute_global_image_capability_schema_version_name=known.current_version_name)
    assert refused(compute.create_compute_image_capability_schema, schema(Compute_Firmware='UEFI_128')) == (400, 'InvalidParameter')
    assert refused(compute.create_compute_image_capability_schema, schema(Compute_Speed='HIGH')) == (400, 'InvalidParameter')
    made = compute.create_compute_image_capability_schema(schema(Compute_Firmware='UEFI_64')).data
    assert refused(compute.create_compute_image_capability_schema, schema(Compute_Firmware='UEFI_64')) == (409, 'Conflict')
    assert [one.id for one in compute.list_compute_image_capability_schemas(image_id=image.id).data] == [made.id]
    merged = compute.get_compute_image_capability_schema(made.id, is_merge_enabled=True).data.schema_data
    assert merged['Compute.Firmware'].source == 'IMAGE' and merged['Compute.LaunchMode'].source == 'GLOBAL'
    update = models.UpdateComputeImageCapabilitySchemaDetails(schema_data=schema(Compute_LaunchMode='PARAVIRTUALIZED').schema_data)
    assert list(compute.update_compute_image_capability_schema(made.id, update).data.schema_data) == ['Compute.LaunchMode']
    compute.delete_compute_image_capability_schema(made.id)
    assert refused(compute.get_compute_image_capability_schema, made.id) == (404, 'NotAuthorizedOrNotFound')


def test_shapes(cloud, disk):
    compute, image = cloud.compute, imported(cloud, disk)
    there = {one.shape for one in oci.pagination.list_call_get_all_results(compute.list_image_shape_compatibility_entries, image.id).data}
    assert 'VM.Standard.E4.Flex' in there and 'VM.Standard.A1.Flex' not in there
    limits = models.AddImageShapeCompatibilityEntryDetails(ocpu_constraints=models.ImageOcpuConstraints(min=1, max=4))
    compute.add_image_shape_compatibility_entry(image.id, 'VM.Standard.A1.Flex', add_image_shape_compatibility_entry_details=limits)
    compute.add_image_shape_compatibility_entry(image.id, 'BM.Standard.A1.160')
    assert compute.get_image_shape_compatibility_entry(image.id, 'VM.Standard.A1.Flex').data.ocpu_constraints.max == 4
    compute.remove_image_shape_compatibility_entry(image.id, 'VM.Standard.E4.Flex')
    assert refused(compute.remove_image_shape_compatibility_entry, image.id, 'VM.Standard.E4.Flex') == (404, 'NotAuthorizedOrNotFound')
    assert refused(compute.add_image_shape_compatibility_entry, image.id, 'VM.Nothing') == (400, 'InvalidParameter')


def test_compartments(cloud):
    identity, tenancy = cloud.identity, cloud.about['tenancy']
    known = oci.pagination.list_call_get_all_results(identity.list_compartments, tenancy, lifecycle_state='ACTIVE').data
    assert sorted(one.name for one in known) == ['images', 'sandbox', 'team']
    team = identity.list_compartments(tenancy, name='team').data[0].id
    assert [one.id for one in identity.list_compartments(team, name='images').data] == [cloud.about['compartments']['team/images']]
    cloud.control.set(page_size=2)
    assert len(oci.pagination.list_call_get_all_results(identity.list_compartments, tenancy, compartment_id_in_subtree=True).data) == 6
    assert refused(identity.list_compartments, team, compartment_id_in_subtree=True) == (400, 'InvalidParameter')
    assert identity.get_compartment(team).data.compartment_id == tenancy
    cloud.control.set(denied=[team])
    assert refused(identity.get_compartment, team) == (404, 'NotAuthorizedOrNotFound')
    assert refused(cloud.compute.list_images, team) == (404, 'NotAuthorizedOrNotFound')


def test_tenancy_and_regions(cloud):
    identity, tenancy = cloud.identity, cloud.about['tenancy']
    assert (identity.get_tenancy(tenancy).data.name, identity.get_tenancy(tenancy).data.home_region_key) == ('ocnelab', 'IAD')
    assert [one.region_name for one in identity.list_region_subscriptions(tenancy).data if one.is_home_region] == [cloud.about['region']]
    assert {one.name for one in identity.list_regions().data} == set(cloud.about['regions'])
    assert identity.list_availability_domains(tenancy).data and identity.get_user(cloud.about['user']).data.name == 'lab'
