# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each part of the cluster is told: its files of configuration and its command line."""
import json
import secrets
from pathlib import Path

import common
from cluster import lab, pki

#: who knows image volumes: all, the API server and no kubelet (an older node), nobody (before 1.35)
IMAGE_VOLUMES = ('all', 'apiserver', 'none')
CONTAINERD_SOCKET = '/run/containerd/containerd.sock'

# Feature gates other than image volumes are those of the release.
KUBELET = '''apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {pki}/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {pki}/kubelet.crt
tlsPrivateKeyFile: {pki}/kubelet.key
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false                 # a machine may have cgroup v1 only
failSwapOn: false
featureGates: {{ImageVolume: {image_volumes_of_kubelet}}}
oomScoreAdj: 0                      # a container in which the lab runs may lack CAP_SYS_RESOURCE
maxOpenFiles: 20000
resolvConf: ""                      # no way out, and so no names
clusterDNS: ["{gateway}"]           # nobody answers there, which is told at once; without one each pod gets a warning
evictionHard: {{memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
serializeImagePulls: false
'''
CONTAINERD = '''version = 3
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{state}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  # a container in which the lab runs may lack CAP_SYS_RESOURCE
  restrict_oom_score_adj = true
  # a profile would be loaded into the host's kernel, and stay
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{state}/bin"]
    conf_dir = "{state}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
'''
REGISTRY = '''version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http:
  addr: "{address}"
  secret: {secret}
'''
REGISTRY_TLS = '''  tls: {{certificate: {pki}/registry.crt, key: {pki}/registry.key}}
auth:
  htpasswd: {{realm: lab, path: {state}/htpasswd}}
'''
HOSTS = '''server = "{scheme}://{address}"
[host."{scheme}://{address}"]
  capabilities = ["pull", "resolve"]
'''
NETWORK = {'cniVersion': '1.0.0', 'name': 'lab', 'plugins': [
    {'type': 'bridge', 'bridge': lab.BRIDGE, 'isGateway': True, 'hairpinMode': True,
     'ipam': {'type': 'host-local', 'ranges': [[{'subnet': lab.PODS}]], 'routes': [{'dst': '0.0.0.0/0'}]}}]}


def registry_storage():
    """Images outlive the clusters; tests/lab/registry's own layout, so that its push fills it."""
    return common.cache_dir() / 'cluster' / 'registry'


def registries(state):
    """How users inside the lab's network reach the registries."""
    return {'plain': {'address': lab.REGISTRIES['plain']},
            'tls': {'address': lab.REGISTRIES['tls'], 'ca': str(state / 'pki/ca.crt'), 'username': 'lab',
                    'password': (state / 'registry-password').read_text(encoding='utf-8')}}


def write(state, pause, image_volumes):
    """All files of a new cluster; its state folder holds nothing of an older one. image_volumes: of IMAGE_VOLUMES."""
    values = {'state': state, 'pki': state / 'pki', 'pause': pause, 'socket': CONTAINERD_SOCKET, 'cgroup': lab.CGROUP, 'gateway': lab.GATEWAY,
              'image_volumes_of_kubelet': json.dumps(image_volumes == 'all')}
    pki.make(state / 'pki')
    for name in ('controllers', 'scheduler', 'kubelet'):
        pki.kubeconfig(state / 'pki' / (name + '.kubeconfig'), lab.API_FOR_PARTS, state / 'pki', certificate=name)
    pki.kubeconfig(state / 'admin.kubeconfig', lab.API, state / 'pki', certificate='admin')
    lab.write(state / 'kubelet.yaml', KUBELET.format(**values))
    lab.write(state / 'containerd.toml', CONTAINERD.format(**values))
    (state / 'cni').mkdir()
    lab.write(state / 'cni/10-lab.conflist', json.dumps(NETWORK))
    password = secrets.token_urlsafe(12)
    lab.write(state / 'registry-password', password)
    # the password goes through standard input: argv is for everyone to read
    lab.write(state / 'htpasswd', common.run(['htpasswd', '-niB', '-C', '5', 'lab'], input=password.encode()).strip() + '\n')
    storage = registry_storage() / 'storage'
    storage.mkdir(parents=True, exist_ok=True)
    for kind, address in lab.REGISTRIES.items():
        text = REGISTRY + (REGISTRY_TLS if kind == 'tls' else '')
        # not the gateway's address alone: it is there only while the bridge is
        listen = ':' + address.rpartition(':')[2]
        lab.write(state / ('registry-%s.yml' % kind), text.format(storage=storage, address=listen, secret=secrets.token_hex(16), **values))
        hosts = state / 'certs.d' / address / 'hosts.toml'
        hosts.parent.mkdir(parents=True)
        scheme = 'https' if kind == 'tls' else 'http'
        lab.write(hosts, HOSTS.format(scheme=scheme, address=address) + ('  ca = "%s/pki/ca.crt"\n' % state if kind == 'tls' else ''))


def parts(state, image_volumes):
    """{part: argv}, in the order in which they start."""
    def conf(name):
        return '--kubeconfig=%s/pki/%s.kubeconfig' % (state, name)
    certificates = Path(state) / 'pki'
    return {
        'registry-plain': ['docker-registry', 'serve', '%s/registry-plain.yml' % state],
        'registry-tls': ['docker-registry', 'serve', '%s/registry-tls.yml' % state],
        'containerd': ['containerd', '-c', '%s/containerd.toml' % state],
        # a cluster that is gone when the machine is needs nothing on its disk
        'etcd': ['etcd', '--data-dir', '%s/etcd' % state, '--unsafe-no-fsync', '--log-level', 'warn'],
        'apiserver': [
            'kube-apiserver', '--etcd-servers=http://127.0.0.1:2379', '--secure-port=443', '--advertise-address=' + lab.GATEWAY,
            '--tls-cert-file=%s/apiserver.crt' % certificates, '--tls-private-key-file=%s/apiserver.key' % certificates,
            '--client-ca-file=%s/ca.crt' % certificates, '--kubelet-certificate-authority=%s/ca.crt' % certificates,
            '--kubelet-client-certificate=%s/apiserver-kubelet.crt' % certificates, '--kubelet-client-key=%s/apiserver-kubelet.key' % certificates,
            '--kubelet-preferred-address-types=InternalIP', '--service-account-issuer=https://kubernetes.default.svc',
            '--service-account-key-file=%s/accounts.pub' % certificates, '--service-account-signing-key-file=%s/accounts.key' % certificates,
            '--service-cluster-ip-range=' + lab.SERVICES, '--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction',
            '--allow-privileged=true', '--feature-gates=ImageVolume=%s' % json.dumps(image_volumes != 'none'), '--profiling=false'],
        'controllers': [
            'kube-controller-manager', conf('controllers'), '--use-service-account-credentials', '--kube-api-qps=200', '--kube-api-burst=400',
            '--service-account-private-key-file=%s/accounts.key' % certificates, '--root-ca-file=%s/ca.crt' % certificates,
            '--leader-elect=false', '--profiling=false'],
        'scheduler': ['kube-scheduler', conf('scheduler'), '--leader-elect=false', '--profiling=false'],
        'kubelet': ['kubelet', '--config=%s/kubelet.yaml' % state, conf('kubelet'), '--hostname-override=' + lab.NODE, '--node-ip=' + lab.GATEWAY],
    }


# What a part is called by who restarts it, and its program.
RESTARTABLE = {'apiserver': 'kube-apiserver', 'kubelet': 'kubelet', 'containerd': 'containerd', 'etcd': 'etcd'}
