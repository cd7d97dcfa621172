# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files to a builder pod and back, as a module does it: through.py KUBECONFIG NAMESPACE BUILDER proxy|exec push PATH NAME | fetch NAME PATH [BASE REMOTE]."""

from __future__ import annotations

import sys

from ansible_collections.ocne.images.plugins.module_utils import artifact
from ansible_collections.ocne.images.plugins.module_utils.builders import kube, kube_channel, pod_life, transfer
from ansible_collections.ocne.images.plugins.module_utils.progress import silent


def main(kubeconfig, namespace, builder, way, verb, *paths):
    """One transfer, its digest checked at the end of it."""
    cluster = kube.Cluster({"kubeconfig": kubeconfig}, namespace)
    pod = pod_life.pods_of(cluster, builder)[0]["metadata"]["name"]
    token = kube_channel.read_token(cluster, pod)
    channel = (kube_channel.ProxyChannel if way == "proxy" else kube_channel.ExecChannel)(cluster, pod, token)
    try:
        if verb == "push":
            path, name = paths
            transfer.push(channel, path, name, artifact.sha256_file(path)[0], silent())
        else:
            name, path, digest, *bases = paths
            transfer.fetch(channel, name, path, digest, silent(), *bases)
    finally:
        channel.close_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
