# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads Oracle's Python SDK and writes api.json: operations, their parameters and bodies, as data.

Run it with an interpreter that has `oci`; the endpoint itself reads only the result. `python specification.py --check` tells whether api.json is
what this SDK says.
"""
import importlib
import inspect
import json
import re
import sys
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent / 'api.json'
# (client class, prefix of its paths, operations that the endpoint serves)
CLIENTS = (
    ('oci.object_storage.ObjectStorageClient', '', (
        'get_namespace', 'get_namespace_metadata', 'create_bucket', 'get_bucket', 'head_bucket', 'update_bucket', 'list_buckets', 'delete_bucket',
        'put_object', 'get_object', 'head_object', 'delete_object', 'list_objects', 'create_multipart_upload', 'upload_part', 'list_multipart_uploads',
        'list_multipart_upload_parts', 'commit_multipart_upload', 'abort_multipart_upload', 'create_preauthenticated_request',
        'get_preauthenticated_request', 'list_preauthenticated_requests', 'delete_preauthenticated_request')),
    ('oci.core.ComputeClient', '/20160918', (
        'create_image', 'get_image', 'list_images', 'update_image', 'delete_image', 'list_image_shape_compatibility_entries',
        'get_image_shape_compatibility_entry', 'add_image_shape_compatibility_entry', 'remove_image_shape_compatibility_entry',
        'list_compute_global_image_capability_schemas', 'get_compute_global_image_capability_schema',
        'list_compute_global_image_capability_schema_versions', 'get_compute_global_image_capability_schema_version',
        'create_compute_image_capability_schema', 'get_compute_image_capability_schema', 'list_compute_image_capability_schemas',
        'update_compute_image_capability_schema', 'delete_compute_image_capability_schema')),
    ('oci.work_requests.WorkRequestClient', '/20160918', (
        'get_work_request', 'list_work_requests', 'list_work_request_errors', 'list_work_request_logs')),
    ('oci.identity.IdentityClient', '/20160918', (
        'get_compartment', 'list_compartments', 'get_tenancy', 'list_region_subscriptions', 'list_regions', 'list_availability_domains', 'get_user')),
)


def _dictionary(source, name):
    """{wire name: Python argument} of a `name = {...}` block of a client's method."""
    block = re.search(r'\n        %s = \{(.*?)\n        \}' % name, source, re.S)
    return dict(re.findall(r'"([^"]+)": (?:self\.base_client\.\w+\()?(?:kwargs\.get\(")?(\w+)', block.group(1))) if block else {}


def _declared_types(source):
    """{argument: swagger type} from a method's docstring."""
    return {name: kind for kind, name in re.findall(r':param (\S+) (\w+):', source)}


def _enums(source):
    """{argument: values} that the method itself checks."""
    return {name: json.loads(values) for name, values in re.findall(r'(\w+)_allowed_values = (\[[^\]]*\])', source)}


def _operation(method, prefix, package, wanted):
    source = inspect.getsource(method)
    kinds, enums = _declared_types(source), _enums(source)
    needed = json.loads(re.search(r'required_arguments = (\[.*?\])', source).group(1).replace("'", '"'))
    query = {}
    for wire, argument in _dictionary(source, 'query_params').items():
        query[wire] = {'type': kinds.get(argument, 'str')}
        if argument in enums:
            query[wire]['enum'] = enums[argument]
        if wire in needed:
            query[wire]['required'] = True
    headers = [name.lower() for name in _dictionary(source, 'header_params')]
    body = re.search(r'\n {16}body=(?:kwargs\.get\([\'"])?(\w+)', source)
    made = {'method': re.search(r'method = "(\w+)"', source).group(1), 'path': prefix + re.search(r'resource_path = "([^"]+)"', source).group(1),
            'query': query, 'headers': sorted(set(headers) - {'accept'})}
    if body:
        kind = kinds[body.group(1)].rpartition('.')[2]
        if 'enforce_content_headers=False' in source:
            made['stream'] = True
        else:
            made['body'] = package + '.' + kind
            made['body_required'] = body.group(1) in inspect.signature(method).parameters
            wanted.append(made['body'])
    answer = re.search(r'response_type="([^"]+)"', source)
    if answer:
        kind = re.search(r'list\[(\w+)\]', answer.group(1))
        name = kind.group(1) if kind else answer.group(1)
        if name[0].isupper():
            wanted.append(package + '.' + name)
            name = package + '.' + name
        made['answer'] = 'list[%s]' % name if kind else name
    return made


def _model(name, models):
    """The fields of one model, those of its subtypes, and which are required."""
    package, _dot, short = name.partition('.')
    kind = getattr(importlib.import_module('oci.%s.models' % package), short)
    about = kind()
    fields = {}
    for attribute, swagger in about.swagger_types.items():
        source = inspect.getsource(inspect.getattr_static(kind, attribute).fget)
        check = inspect.getsource(inspect.getattr_static(kind, attribute).fset)
        allowed = re.search(r'allowed_values = (\[.*?\])', check, re.S)
        # in requests the setter checks; in answers it takes what it does not know, and the getter tells what there is
        told = re.search(r"Allowed values for this property are: (.*?)(?:, 'UNKNOWN|\.\n)", source, re.S)
        enum = json.loads(allowed.group(1)) if allowed else re.findall(r'"(\w+)"', told.group(1)) if told else None
        field = {'type': re.sub(r'(?<![\w.])([A-Z]\w+)', package + r'.\1', swagger)}
        if enum:
            field['enum'] = enum
        if '**[Required]**' in source:
            field['required'] = True
        fields[about.attribute_map[attribute]] = field
    made = {'fields': fields}
    if hasattr(kind, 'get_subtype'):
        source = inspect.getsource(kind.get_subtype)
        made['discriminator'] = re.search(r"object_dictionary\['(\w+)'\]", source).group(1)
        made['subtypes'] = {value: package + '.' + sub for value, sub in re.findall(r"if type == '([^']+)':\s+return '(\w+)'", source)}
    models[name] = made
    related = [field['type'] for field in fields.values()] + list(made.get('subtypes', {}).values())
    for other in re.findall(r'\w+\.[A-Z]\w+', ' '.join(related)):
        if other not in models:
            _model(other, models)


def read():
    """The specification, from the SDK that this interpreter imports."""
    operations, models, wanted = {}, {}, []
    for path, prefix, names in CLIENTS:
        module, _dot, name = path.rpartition('.')
        client = getattr(importlib.import_module(module), name)
        for operation in names:
            operations[operation] = _operation(getattr(client, operation), prefix, module.partition('.')[2], wanted)
    for name in wanted:
        if name not in models:
            _model(name, models)
    return {'operations': operations, 'models': models}


def text():
    """api.json as it is written: one operation or model a line, so that a difference can be read."""
    made = read()
    parts = []
    for part in ('operations', 'models'):
        lines = ['  %s: %s' % (json.dumps(name), json.dumps(made[part][name], sort_keys=True)) for name in sorted(made[part])]
        parts.append(' "%s": {\n%s\n }' % (part, ',\n'.join(lines)))
    return '{\n%s\n}\n' % ',\n'.join(parts)


if __name__ == '__main__':
    if sys.argv[1:] == ['--check']:
        sys.exit(0 if OUTPUT.read_text(encoding='utf-8') == text() else 'api.json is not what this SDK says: run specification.py')
    OUTPUT.write_text(text(), encoding='utf-8')
