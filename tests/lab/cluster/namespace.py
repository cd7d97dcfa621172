# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A namespace as a user of the collection gets it from an administrator: Pod Security enforced, and an account with one Role."""
import argparse
import json
import time
from pathlib import Path

import common
from cluster import api, lab, pki

ROLE = Path(__file__).resolve().parents[3] / 'docs/builder-role.yaml'
ACCOUNT = 'ocne-builder'
RBAC = '/apis/rbac.authorization.k8s.io/v1/namespaces/%s/'
TOKEN_SECONDS = 24 * 3600


def roles_in(path, state):
    """The Roles of a YAML file; kubectl reads it, and whatever else is there is left out."""
    argv = [state / 'bin/kubectl', '--kubeconfig', state / 'admin.kubeconfig', 'create', '--dry-run=client', '--output=json', '--filename', path]
    items, decoder, text = [], json.JSONDecoder(), common.run(argv)
    while text.strip():
        item, end = decoder.raw_decode(text.strip())
        items += item['items'] if item['kind'] == 'List' else [item]
        text = text.strip()[end:]
    roles = [item for item in items if item['kind'] == 'Role']
    if not roles:
        raise common.LabError('there is no Role in %s' % path)
    return roles


def _wait_for(client, path):
    """What a controller makes after the namespace, without which its first pods are refused."""
    deadline = time.monotonic() + 120   # controllers find a restarted API server again within that
    while not client.get(path):
        if time.monotonic() > deadline:
            raise common.LabError('the cluster makes no %s' % path)
        time.sleep(0.05)


def make(name, level='baseline', role=None):
    """The namespace, its account and the account's kubeconfig, made or brought to this state."""
    if name == 'admin':
        raise common.LabError('admin.kubeconfig is the administrator\'s: take another name for a namespace')
    lab.need_root()
    state = Path(lab.must_run()['state'])
    lab.enter_network()
    client = api.Api(state / 'pki')
    space = '/api/v1/namespaces/' + name
    security = {'pod-security.kubernetes.io/' + mode: level for mode in ('enforce', 'warn')}
    client.apply(space, {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': name, 'labels': security}})
    client.apply('%s/serviceaccounts/%s' % (space, ACCOUNT), {'apiVersion': 'v1', 'kind': 'ServiceAccount', 'metadata': {'name': ACCOUNT}})
    if role is None and ROLE.exists():
        role = ROLE
    granted = []
    for item in roles_in(role, state) if role else []:
        title = item['metadata']['name']
        rbac = {'apiVersion': 'rbac.authorization.k8s.io/v1'}
        client.apply(RBAC % name + 'roles/' + title, dict(rbac, kind='Role', metadata={'name': title}, rules=item['rules']))
        client.apply(RBAC % name + 'rolebindings/' + title, dict(
            rbac, kind='RoleBinding', metadata={'name': title}, roleRef={'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Role', 'name': title},
            subjects=[{'kind': 'ServiceAccount', 'name': ACCOUNT, 'namespace': name}]))
        granted.append(title)
    _wait_for(client, space + '/serviceaccounts/default')
    _wait_for(client, space + '/configmaps/kube-root-ca.crt')
    wanted = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenRequest', 'spec': {'expirationSeconds': TOKEN_SECONDS}}
    status, token = client.request('POST', '%s/serviceaccounts/%s/token' % (space, ACCOUNT), wanted)
    if status != 201:
        raise common.LabError('the API server gives no token: %s' % token)
    path = state / (name + '.kubeconfig')
    pki.kubeconfig(path, lab.API, state / 'pki', token=token['status']['token'], namespace=name)
    return {'namespace': name, 'pod_security': level, 'service_account': ACCOUNT, 'roles': granted, 'kubeconfig': str(path)}


def main(argv):
    """The command line: tests/lab/cluster/namespace NAME"""
    parser = argparse.ArgumentParser(prog='namespace', description='Make a namespace with an account of limited rights, and its kubeconfig; print JSON.')
    parser.add_argument('name')
    parser.add_argument('--pod-security', choices=['privileged', 'baseline', 'restricted'], default='baseline', help='what is enforced (default: %(default)s)')
    parser.add_argument('--role', metavar='FILE', help='YAML with the Role of the account (default: docs/builder-role.yaml where it exists, else none)')
    args = parser.parse_args(argv[1:])
    return lab.command_line(lambda: print(json.dumps(make(args.name, args.pod_security, args.role), indent=1)))
