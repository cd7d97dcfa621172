# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files to a builder pod and back, as a module does it: through.py KUBECONFIG NAMESPACE BUILDER proxy|exec.

Reads one transfer a line, as JSON, and answers each with a line when it is done: ["push", PATH, NAME] or
["fetch", NAME, PATH, DIGEST] or ["fetch", NAME, PATH, DIGEST, BASE, REMOTE_BASE]. So what is measured is what a module adds that runs already.
"""

from __future__ import annotations

import json
import sys

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import clients, pod_life
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.cluster import Cluster
from ansible_collections.ocne.images.plugins.module_utils.builders.remote import transfer
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.files import digests


def main(kubeconfig, namespace, builder, way):
    """Transfers until the input ends; the digest of each is checked at its end."""
    cluster = Cluster({"kubeconfig": kubeconfig}, namespace)
    pod = pod_life.pods_of(cluster, builder)[0]["metadata"]["name"]
    client = (clients.ProxyClient if way == "proxy" else clients.ExecClient)(cluster, pod, clients.read_token(cluster, pod))
    try:
        print("ready", flush=True)
        for line in sys.stdin:
            verb, *words = json.loads(line)
            if verb == "push":
                path, name = words
                transfer.push(client, path, name, digests.sha256_file(path)[0], silent())
            else:
                name, path, digest, *bases = words
                transfer.fetch(client, name, path, digest, silent(), *bases)
            print("done", flush=True)
    finally:
        client.close_all()


if __name__ == "__main__":
    main(*sys.argv[1:])
