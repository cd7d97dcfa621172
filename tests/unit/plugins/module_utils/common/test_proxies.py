# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which proxy a request goes by."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import proxies
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("given, address", [
    ("proxy:3128", "http://proxy:3128"), ("http://me:pass%40word@proxy", "http://me:pass%40word@proxy"), ("https://proxy:1", "https://proxy:1"),
    ("http://[::1]:3128", "http://[::1]:3128"),
])
def test_addresses(given, address):
    assert proxies.checked(given) == address


@pytest.mark.parametrize("given", ["http://:3128", "http://me:hunter2@proxy:many", "http://", "http://[::1"])
def test_what_is_none(given):
    with pytest.raises(ImageError, match="^proxy is no address of a proxy; write it as http://proxy.example.com:3128") as caught:
        proxies.checked(given)
    assert "hunter2" not in str(caught.value.as_dict())


def test_the_environment(environment):
    assert proxies.of_environment("h:443") == {}
    environment.setenv("ALL_PROXY", "http://any:1")
    environment.setenv("HTTPS_PROXY", "http://proxy:1")
    environment.setenv("NO_PROXY", "localhost,.example.com,other:444")
    assert proxies.of_environment("h:443") == {"http": "http://any:1", "https": "http://proxy:1"}
    for host in ("localhost:443", "a.example.com", "other:444"):
        assert proxies.of_environment(host) == {}
    assert proxies.of_environment("other:443") and proxies.of_environment("example.org")
