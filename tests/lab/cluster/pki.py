# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster's certificates and kubeconfigs, new with every cluster. A kubeconfig carries all it needs: it works wherever it is copied to."""
import base64
import json
from pathlib import Path

import common
from cluster import lab

KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-sha256']
CONFIG = '''[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
{subject}
[extensions]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
'''
CA = '''basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
'''
LEAF = '''basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
'''
ADMINS = 'system:masters'
# name: (common name, organization: a group of Kubernetes, addresses)
CERTIFICATES = {
    'apiserver': ('kube-apiserver', None, ['IP:127.0.0.1', 'IP:' + lab.GATEWAY, 'IP:' + lab.API_SERVICE, 'DNS:localhost', 'DNS:kubernetes.default.svc']),
    'apiserver-kubelet': ('kube-apiserver-kubelet-client', ADMINS, []),
    'admin': ('admin', ADMINS, []),
    'controllers': ('system:kube-controller-manager', None, []),
    'scheduler': ('system:kube-scheduler', None, []),
    'kubelet': ('system:node:' + lab.NODE, 'system:nodes', ['IP:' + lab.GATEWAY, 'DNS:' + lab.NODE]),
    'registry': ('ocne lab registry', None, ['IP:' + lab.GATEWAY, 'IP:127.0.0.1', 'DNS:localhost']),
}


def _certificate(pki, name, subject, extensions, signer):
    """One key and one certificate, signed by signer or by itself."""
    config = pki / (name + '.cnf')
    config.write_text(CONFIG.format(subject=subject) + extensions, encoding='utf-8')
    common.run(['openssl', 'req', '-x509', '-days', '365', '-config', config, '-keyout', pki / (name + '.key'), '-out', pki / (name + '.crt')] + KEY + signer)


def make(pki):
    """All keys and certificates, in a folder of root's own."""
    pki.mkdir(mode=0o700, parents=True)
    _certificate(pki, 'ca', 'CN = ocne lab cluster CA', CA, [])
    signer = ['-CA', pki / 'ca.crt', '-CAkey', pki / 'ca.key']
    for name, (common_name, group, addresses) in CERTIFICATES.items():
        subject = ('O = %s\n' % group if group else '') + 'CN = ' + common_name
        extensions = LEAF + ('subjectAltName = %s\n' % ', '.join(addresses) if addresses else '')
        _certificate(pki, name, subject, extensions, signer)
    # what signs the tokens of service accounts
    common.run(['openssl', 'ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', pki / 'accounts.key'])
    common.run(['openssl', 'ec', '-in', pki / 'accounts.key', '-pubout', '-out', pki / 'accounts.pub'])


def kubeconfig(path, server, pki, certificate=None, token=None, namespace=None):
    """A kubeconfig with the rights of a certificate of ours, or of a token."""
    def data(name):
        return base64.b64encode(Path(pki, name).read_bytes()).decode()
    user = {'token': token} if token else {'client-certificate-data': data(certificate + '.crt'), 'client-key-data': data(certificate + '.key')}
    context = {'cluster': 'lab', 'user': 'lab'}
    if namespace:
        context['namespace'] = namespace
    # JSON is YAML
    lab.write(path, json.dumps({
        'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'lab',
        'clusters': [{'name': 'lab', 'cluster': {'server': server, 'certificate-authority-data': data('ca.crt')}}],
        'users': [{'name': 'lab', 'user': user}],
        'contexts': [{'name': 'lab', 'context': context}]}, indent=1) + '\n')
