# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether policy.json (containers-policy.json(5)) has anything to say about an image.

Only that is decided here, on the careful side; whether a signature is good is decided by skopeo alone.
"""

from __future__ import annotations

import json
import os

_USUAL = ("~/.config/containers/policy.json", "/etc/containers/policy.json", "/usr/share/containers/policy.json")


def accepts_everything(reference, path=None):
    """True where the policy that applies accepts this image whatever it is; False where skopeo has to decide."""
    paths = [path] if path else [os.path.expanduser(usual) for usual in _USUAL]
    for name in paths:
        try:
            with open(name, encoding="utf-8") as file:
                policy = json.load(file)
            break
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return False
    else:
        return False
    try:
        requirements = [policy["default"]]
        for scope, value in policy.get("transports", {}).get(reference.transport, {}).items():
            if _may_apply(scope, reference):
                requirements.append(value)
        return all(len(value) == 1 and value[0]["type"] == "insecureAcceptAnything" for value in requirements)
    except (KeyError, TypeError, AttributeError, IndexError):
        return False


def _may_apply(scope, reference):
    # a scope of a registry is host[/path...] or *.domain; of the others anything may match
    if reference.transport != "docker" or not scope or scope.startswith("*"):
        return True
    return scope.partition("/")[0].partition("@")[0] in (reference.host, reference.host.partition(":")[0])
