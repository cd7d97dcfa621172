# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins for registries, as containers-auth.json(5) keeps them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re

#: what Docker Hub is called in auth files
_DOCKER_HUB = ("docker.io", "https://index.docker.io/v1/")


def out_of_reach(given):
    """Whether skopeo would stumble over an auth file in a folder of somebody else's.

    /run/containers belongs to root where root has used podman, and old skopeos fail for users without XDG_RUNTIME_DIR then.
    """
    for path in _usual_files(given):
        try:
            os.stat(path)
        except PermissionError:
            return True
        except OSError:
            pass
    return False


def _usual_files(given):
    """Where credentials are looked for, the least important first."""
    home = os.path.expanduser("~")
    if given or os.environ.get("REGISTRY_AUTH_FILE"):
        return [given or os.environ["REGISTRY_AUTH_FILE"]]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}"
    return [os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.join(home, ".docker"), "config.json"),
            os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "containers/auth.json"),
            os.path.join(runtime, "containers/auth.json")]


def known(registry, reference):
    """The content of an auth file: this user's own and, over them, the credentials in a skopeo.Registry for this image."""
    merged = {"auths": {}, "credHelpers": {}}
    for path in _usual_files(registry.auth_file):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
            for part in merged:
                merged[part].update(data.get(part) or {})
    if registry.username is not None:
        secret = base64.b64encode(f"{registry.username}:{registry.password or ''}".encode()).decode()
        merged["credHelpers"].pop(reference.host, None)
        # the longest key counts first; skopeos before 1.4 know hosts only
        for key in (reference.host, reference.name):
            merged["auths"][key] = {"auth": secret}
    return merged


def only(registry, reference):
    """The content of an auth file with nothing but the login for this image, to be carried elsewhere; None where there is none."""
    auths = {_repository(key): entry for key, entry in known(registry, reference)["auths"].items()}
    parts = reference.name.split("/")
    for length in range(len(parts), 0, -1):
        entry = auths.get("/".join(parts[:length]))
        if entry:
            # older readers know hosts only
            return {"auths": dict.fromkeys(_DOCKER_HUB if reference.host == "docker.io" else [reference.host], entry)}
    return None


def _repository(key):
    """host or host/repository of a key of an auth file; those that docker writes may be URLs."""
    name = re.sub(r"/v[12]/?$", "", re.sub("^https?://", "", key)).rstrip("/")
    return "docker.io" if name == "index.docker.io" else name
