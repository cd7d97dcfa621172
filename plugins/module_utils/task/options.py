# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option `registry` of every module that touches container images; documented in doc_fragments/registry.py."""

from __future__ import annotations

import os

_PATHS = ("auth_file", "ca_cert", "client_cert", "client_key", "policy")
_LOGIN = ("username", "password")

REGISTRY_SPEC = {
    "registry": {
        "type": "dict",
        "required_together": [("username", "password"), ("client_cert", "client_key")],
        "options": {
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "auth_file": {"type": "path"},
            "ca_cert": {"type": "path"},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path", "no_log": False},   # a path, not the key
            "verify": {"type": "bool"},
            "policy": {"type": "path"},
        },
    },
}


def registry_options(params):
    """The option as a Job carries it: what is set, with absolute paths. Never part of a record."""
    values = {name: value for name, value in (params.get("registry") or {}).items() if value is not None}
    return {name: os.path.abspath(value) if name in _PATHS else value for name, value in values.items()}


def access(options):
    """What of registry_options() a record may keep, so that the image can be read again: files and flags, no secret."""
    return {name: value for name, value in options.items() if name not in _LOGIN}
