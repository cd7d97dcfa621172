# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stands in for OCI's instance metadata service: QEMU starts it for each connection, with the connection as standard input and output.

Arguments: a JSON file {"instance": {...}, "vnics": [...]}, and a log that gets one JSON line for each request.
It uses the standard library only and imports little, because the guest waits while it starts.
"""
import json
import os
import sys


def read_request():
    """Request line and headers; the service takes no body."""
    data = b''
    while b'\r\n\r\n' not in data and len(data) < 65536:
        piece = os.read(0, 4096)
        if not piece:
            break
        data += piece
    lines = data.split(b'\r\n\r\n')[0].decode('latin-1').split('\r\n')
    headers = {}
    for line in lines[1:]:
        name, _colon, value = line.partition(':')
        headers[name.strip().lower()] = value.strip()
    return (lines[0].split() + ['', ''])[:2], headers


def find(document, path):
    """/opc/v2/instance/hostname -> document['instance']['hostname']; None where there is nothing."""
    parts = [p for p in path.split('?')[0].split('/') if p]
    if parts[:2] != ['opc', 'v2'] or len(parts) < 3:
        return None
    value = document
    for part in parts[2:]:
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value


def main():
    """One request, one answer."""
    with open(sys.argv[1], encoding='utf-8') as handle:
        document = json.load(handle)
    (method, path), headers = read_request()
    value = find(document, path)
    if headers.get('authorization') != 'Bearer Oracle':
        status, kind, body = '403 Forbidden', 'application/json', '{"code":"NotAuthorized"}'
    elif method != 'GET':
        status, kind, body = '405 Method Not Allowed', 'text/plain', ''
    elif value is None:
        status, kind, body = '404 Not Found', 'text/html', '404 Not Found\n'
    elif isinstance(value, (dict, list)):
        status, kind, body = '200 OK', 'application/json', json.dumps(value, indent=2) + '\n'
    else:
        status, kind, body = '200 OK', 'text/plain', str(value)
    with open(sys.argv[2], 'a', encoding='utf-8') as log:
        log.write(json.dumps({'method': method, 'path': path, 'status': int(status[:3])}) + '\n')
    body = body.encode()
    head = 'HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n' % (status, kind, len(body))
    out = head.encode() + (b'' if method == 'HEAD' else body)
    while out:
        out = out[os.write(1, out):]


if __name__ == '__main__':
    main()
