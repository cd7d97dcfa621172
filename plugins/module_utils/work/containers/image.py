# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Container images of any containers-transport: which one a reference means now, and reading it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil

from ...common import advice
from ...common.errors import ImageError
from .image_folder import ImageFolder
from .image_proxy import ImageProxy
from .policy import accepts_everything

#: from this protocol on the proxy obeys policy.json by itself
_OBEYS_POLICY = (0, 2, 6)


@dataclasses.dataclass
class Resolved:
    """What a reference means now."""

    digest: str            # of the top-level manifest: an index, or the image's own
    platforms: list        # digests of the manifests for the wanted platform; of an index only
    config: str            # digest of the configuration; not of an index


def resolve(skopeo):
    """Ask for the top-level manifest, once. Raises ImageError, also where an index lacks the architecture."""
    skopeo.progress.phase(f"resolve {skopeo.reference.text}")
    data = skopeo.persist(lambda: skopeo.run("inspect", "--raw", skopeo.reference.text))
    where, pin = skopeo.reference.text, skopeo.reference.digest
    algorithm = pin.partition(":")[0] if pin else "sha256"
    digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    if pin and digest != pin:
        raise ImageError("what came is not what the digest in the reference says", where, advice.PULL_AGAIN, digest=digest)
    try:
        manifest = json.loads(data)
        entries, platforms = manifest.get("manifests"), None
        if entries is not None:
            platforms = _choose([(entry["digest"], entry.get("platform") or {}) for entry in entries], skopeo.architecture, where)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImageError("its manifest is malformed", where, advice.PULL_AGAIN) from error
    skopeo.progress.finish()
    return Resolved(digest, platforms, (manifest.get("config") or {}).get("digest"))


def _choose(entries, architecture, where):
    usable = [(digest, platform["architecture"]) for digest, platform in entries
              if platform.get("os", "linux") == "linux" and platform.get("architecture") not in (None, "unknown")]
    chosen = [digest for digest, name in usable if name == architecture]
    if chosen:
        return chosen
    raise _wrong_architecture(architecture, sorted({name for _digest, name in usable}), where)


def _wrong_architecture(wanted, there, where):
    return ImageError(f"the image is not there for {wanted}" + (f", only for {', '.join(there)}" if there else ""), where,
                      "set architecture to one that is there, or use another image", architectures=there)


@contextlib.contextmanager
def open_image(skopeo, resolved):
    """(image, digest of its manifest, manifest, config) of what `resolved` says and nothing else. Raises ImageError."""
    skopeo.progress.phase(f"open {skopeo.reference.text}")
    image = _open(skopeo, resolved)
    try:
        digest, manifest = image.manifest()
        config = image.config()
        where = skopeo.reference.text
        same = digest in (resolved.platforms or [resolved.digest])
        if skopeo.reference.transport == "containers-storage" and resolved.config:
            # layers are kept unpacked there, so the copy has a manifest of its own; the configuration tells their content
            same, digest = manifest["config"]["digest"] == resolved.config, resolved.digest
        if not same:
            raise ImageError("the image was changed while it was being read", where, advice.RUN_AGAIN, digest=digest)
        architecture = config.get("architecture")
        if architecture and architecture != skopeo.architecture:
            raise _wrong_architecture(skopeo.architecture, [architecture], where)
        yield image, digest, manifest, config
    finally:
        image.close()


def _open(skopeo, resolved):
    free = accepts_everything(skopeo.reference, skopeo.registry.policy)
    # by its digest nobody can exchange it meanwhile; but a policy may speak of the tag, so it must see that
    text = skopeo.reference.pinned(resolved.digest) if free else skopeo.reference.text
    if skopeo.reference.transport != "containers-storage":
        proxy = ImageProxy(skopeo)
        try:
            if free or proxy.version >= _OBEYS_POLICY:
                proxy.open(text)
                return proxy
        except BaseException:
            proxy.close()
            raise
        proxy.close()
    # skopeo's copy always obeys the policy; and storage tells its layers to nobody else
    skopeo.progress.phase(f"copy {skopeo.reference.text}")
    folder = os.path.join(skopeo.folder, "image")
    shutil.rmtree(folder, ignore_errors=True)
    skopeo.run("copy", "--quiet", text, "dir:" + folder, prefix="src-")
    return ImageFolder(folder)
