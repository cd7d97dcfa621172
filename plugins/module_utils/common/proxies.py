# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which HTTP proxy a request goes by: one that was given, or what the environment says."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from .errors import ImageError


def checked(text):
    """The address of a proxy, with its scheme. Raises ImageError, without the text: it may hold a password."""
    try:
        parts = urlsplit(text if "://" in text else "http://" + text)
        known = parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise ImageError("proxy is no address of a proxy", todo="write it as http://proxy.example.com:3128")
    return parts.geturl()


def of_environment(host):
    """{scheme: address} of what the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say of a host ("name" or "name:port")."""
    environment = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass_environment(host, environment):
        return {}
    found = {scheme: environment.get(scheme) or environment.get("all") for scheme in ("http", "https")}
    return {scheme: address for scheme, address in found.items() if address}
