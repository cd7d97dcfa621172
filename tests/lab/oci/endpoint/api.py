# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The specification in api.json (see specification.py), and what of a request does not keep to it."""
import json
import re
from pathlib import Path
from urllib.parse import unquote

from . import clock
from .errors import ServiceError, cannot_parse, invalid, missing

# Headers that any request may have: of HTTP itself, of the signature, and those that the SDKs add to all operations.
COMMON_HEADERS = {'opc-request-id', 'opc-client-info', 'opc-client-retries', 'opc-obo-token'}
# Of the others, these have a meaning for the services, so an operation that does not declare one refuses it.
MEANINGFUL = re.compile(r'^(opc-|if-|range$|expect$|content-md5$|storage-tier$)')
STREAM_ONLY = re.compile(r'^opc-meta-')
MAX_LIMIT = 1000


def _load():
    with open(Path(__file__).resolve().parent / 'api.json', encoding='utf-8') as handle:
        return json.load(handle)


SPECIFICATION = _load()
OPERATIONS, MODELS = SPECIFICATION['operations'], SPECIFICATION['models']


def _pattern(path):
    """An object's name is the rest of the path; every other parameter is one segment."""
    text = re.sub(r'\{objectName\}', '(?P<objectName>.+)', path)
    return re.compile('^' + re.sub(r'\{(\w+)\}', r'(?P<\1>[^/]+)', text) + '$')


# Longest first: /b/{bucket}/o is not an object named "o" of anything.
ROUTES = [(_pattern(about['path']), about['method'], name) for name, about in
          sorted(OPERATIONS.items(), key=lambda item: ('{objectName}' in item[1]['path'], -len(item[1]['path'])))]


def route(method, path):
    """(operation, path parameters) of a request; ServiceError 404 or 405 for what no operation is."""
    found = False
    for pattern, wanted, name in ROUTES:
        match = pattern.match(path)
        if match and wanted == method:
            return name, {key: unquote(value) for key, value in match.groupdict().items()}
        found = found or bool(match)
    if found:
        raise ServiceError(405, 'MethodNotAllowed', 'The target resource does not support the HTTP method.')
    raise ServiceError(404, 'NotFound', 'There is no operation supported at the URI path and HTTP method you specified in the request.')


def _one(name, text, about):
    """A query parameter's value, of its declared type."""
    kind = about['type']
    if kind == 'int':
        if not re.fullmatch(r'[0-9]{1,9}', text):
            raise invalid("The parameter '%s' is not an integer: '%s'" % (name, text))
        return int(text)
    if kind == 'bool':
        if text.lower() not in ('true', 'false'):
            raise invalid("The parameter '%s' is not a boolean: '%s'" % (name, text))
        return text.lower() == 'true'
    for value in text.split(',') if kind.startswith('list[') else [text]:
        if value not in about.get('enum', [value]):
            raise invalid("The parameter '%s' does not accept the value '%s'" % (name, value))
    return text.split(',') if kind.startswith('list[') else text


def query(operation, pairs):
    """{name: typed value} from [(name, text)]; ServiceError 400 for what the operation does not declare."""
    declared, made = OPERATIONS[operation]['query'], {}
    for name, text in pairs:
        if name not in declared:
            raise invalid("Unknown query parameter '%s'" % name)
        if name in made:
            raise invalid("The query parameter '%s' is given twice" % name)
        made[name] = _one(name, text, declared[name])
    for name, about in declared.items():
        if about.get('required') and made.get(name) in (None, ''):
            raise missing("The query parameter '%s' is required" % name)
    if not 1 <= made.get('limit', 1) <= MAX_LIMIT:
        raise invalid("The parameter 'limit' must be between 1 and %d" % MAX_LIMIT)
    return made


def headers(operation, given):
    """ServiceError 400 for a header with a meaning that this operation does not give it."""
    about = OPERATIONS[operation]
    for name in given:
        if name in COMMON_HEADERS or name in about['headers'] or not MEANINGFUL.match(name):
            continue
        if about.get('stream') and STREAM_ONLY.match(name):
            continue
        raise invalid("The header '%s' is not accepted by this operation" % name)
    token = given.get('opc-retry-token')
    if token is not None and not 1 <= len(token) <= 64:
        raise invalid("The header 'opc-retry-token' must have between 1 and 64 characters")


def body(operation, raw, content_type):
    """The JSON body, checked against its model; None where there is none and none is needed."""
    about = OPERATIONS[operation]
    if 'body' not in about:
        if raw:
            raise cannot_parse('This operation takes no request body')
        return None
    if not raw:
        if about['body_required']:
            raise missing('The request body is required')
        return None
    if content_type.partition(';')[0].strip().lower() != 'application/json':
        raise ServiceError(415, 'UnsupportedMediaType', "The content type '%s' is not supported" % content_type)
    try:
        made = json.loads(raw.decode('utf-8'))
    except ValueError as fault:
        raise cannot_parse('The request body is not valid JSON') from fault
    _check(made, about['body'], 'body')
    return made


PRIMITIVES = {'str': str, 'bool': bool, 'int': int, 'float': (int, float)}


def _check(value, kind, where):
    """value is of that declared type, all the way down; ServiceError 400 where it is not."""
    inner = re.fullmatch(r'list\[(.+)\]', kind)
    if inner:
        if not isinstance(value, list):
            raise cannot_parse('%s must be an array' % where)
        for number, item in enumerate(value):
            _check(item, inner.group(1), '%s[%d]' % (where, number))
        return
    inner = re.fullmatch(r'dict\(str, (.+)\)', kind)
    if inner:
        if not isinstance(value, dict):
            raise cannot_parse('%s must be an object' % where)
        for key, item in value.items():
            _check(item, inner.group(1), '%s.%s' % (where, key))
        return
    if kind == 'datetime':
        try:
            clock.parse_iso(value)
        except ValueError as fault:
            raise cannot_parse('%s must be a time of RFC 3339' % where) from fault
    elif kind in PRIMITIVES:
        if not isinstance(value, PRIMITIVES[kind]) or (isinstance(value, bool) and kind != 'bool'):
            raise cannot_parse('%s must be of type %s' % (where, kind))
    elif kind != 'object':
        _check_model(value, kind, where)


def _check_model(value, kind, where):
    if not isinstance(value, dict):
        raise cannot_parse('%s must be an object' % where)
    model = MODELS[kind]
    if 'discriminator' in model:
        choice = value.get(model['discriminator'])
        if choice is None:
            raise missing('%s.%s may not be null' % (where, model['discriminator']))
        if choice not in model['subtypes']:
            raise invalid("%s.%s does not accept the value '%s'" % (where, model['discriminator'], choice))
        model = MODELS[model['subtypes'][choice]]
    for name in value:
        if name not in model['fields']:
            raise cannot_parse("Unrecognized property '%s' of %s" % (name, where))
    for name, about in model['fields'].items():
        item = value.get(name)
        if item is None:
            if about.get('required'):
                raise missing('%s.%s may not be null' % (where, name))
            continue
        _check(item, about['type'], '%s.%s' % (where, name))
        if 'enum' in about and item not in about['enum']:
            raise invalid("%s.%s does not accept the value '%s'" % (where, name, item))


def answer(operation, value):
    """The endpoint's own answers keep to the specification, too; a fault here is the endpoint's."""
    kind = OPERATIONS[operation].get('answer')
    if kind in (None, 'stream'):
        return
    try:
        _check(value, kind, 'answer')
    except ServiceError as fault:
        raise RuntimeError('%s: %s' % (operation, fault.message)) from fault
