# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels of paths, as libselinux gives them."""

from __future__ import annotations

import ctypes
import ctypes.util
import stat

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.guest import selinux

CONTEXTS = r"""
# a comment
/.*	system_u:object_r:default_t:s0
/[^/]+	--	system_u:object_r:etc_runtime_t:s0
/etc(/.*)?	system_u:object_r:etc_t:s0
/etc/ssh/ssh_host.*_key	--	system_u:object_r:sshd_key_t:s0
/etc/ssh/primes	--	system_u:object_r:sshd_key_t:s0
/etc/NetworkManager(/.*)?	system_u:object_r:NetworkManager_etc_t:s0
/etc/NetworkManager/dispatcher\.d(/.*)?	system_u:object_r:NetworkManager_initrc_exec_t:s0
/etc/hosts	--	system_u:object_r:net_conf_t:s0
/etc/passwd[-\+]?	--	system_u:object_r:passwd_file_t:s0
/var/(lib|cache)/x?yz/.*	system_u:object_r:xyz_t:s0
/var/run/.*	<<none>>
/home/[^/]+	-d	system_u:object_r:user_home_dir_t:s0
/home/[^/]+/.+	system_u:object_r:user_home_t:s0
/opt/a\+b	system_u:object_r:plus_t:s0
/srv/one|/srv/two	system_u:object_r:either_t:s0
/mnt/colou?r/.*	system_u:object_r:color_t:s0
broken
"""
LOCAL = "/etc/site(/.*)?	system_u:object_r:local_t:s0\n"
SUBS_DIST = "/var/home /home\n/run /var/run\n# /no /thing\n"
SUBS = "/data /var/home\n"
FILES = {"file_contexts": CONTEXTS, "file_contexts.local": LOCAL, "file_contexts.subs_dist": SUBS_DIST, "file_contexts.subs": SUBS}
CASES = [
    ("/etc/x", "etc_t"), ("/etc", "etc_t"), ("/etcetera", "etc_runtime_t"), ("/a/b", "default_t"),
    ("/etc/ssh/ssh_host_rsa_key", "sshd_key_t"), ("/etc/ssh/ssh_host_rsa_key.pub", "etc_t"), ("/etc/ssh/primes", "sshd_key_t"),
    ("/etc/NetworkManager/dispatcher.d/11-x", "NetworkManager_initrc_exec_t"), ("/etc/NetworkManager/dispatcherxd/11-x", "NetworkManager_etc_t"),
    ("/etc/hosts", "net_conf_t"), ("/etc/hosts.allow", "etc_t"), ("/etc/passwd", "passwd_file_t"), ("/etc/passwd-", "passwd_file_t"),
    ("/etc/passwdx", "etc_t"), ("/var/lib/yz/a", "xyz_t"), ("/var/cache/xyz/a/b", "xyz_t"), ("/var/tmp/xyz/a", "default_t"),
    ("/var/run/x", None), ("/run/x", None), ("/var/home/me/file", "user_home_t"), ("/data/me/file", "user_home_t"), ("/home/me", "default_t"),
    ("/opt/a+b", "plus_t"), ("/srv/one", "either_t"), ("/srv/two", "either_t"), ("/mnt/color/x", "color_t"), ("/mnt/colour/x", "color_t"),
    ("/etc/site/a", "local_t"),
]


@pytest.mark.parametrize("path,kind", CASES)
def test_lookup(path, kind):
    expected = f"system_u:object_r:{kind}:s0" if kind else None
    assert selinux.FileContexts(FILES).lookup(path, stat.S_IFREG | 0o644) == expected


def test_the_kind_of_file_counts():
    contexts = selinux.FileContexts(FILES)
    assert contexts.lookup("/home/me", stat.S_IFDIR).endswith("user_home_dir_t:s0")
    assert contexts.lookup("/etc/hosts", stat.S_IFDIR).endswith("etc_t:s0")


def test_a_rule_without_expression_beats_later_ones():
    contexts = selinux.FileContexts({"file_contexts": "/a/b exact\n/a(/.*)? expression\n"})
    assert contexts.lookup("/a/b", stat.S_IFREG) == "exact"


def test_no_policy_no_label():
    assert selinux.FileContexts({}).lookup("/etc/x", stat.S_IFREG) is None


@pytest.mark.parametrize("line", ["/etc/(x x", "/etc/[ x", "/etc/x(?P<n>a x", "/etc/.* -x x", "/etc/.* label\u00e9", "/etc/.*"])
def test_a_broken_rule_is_no_rule(line):
    contexts = selinux.FileContexts({"file_contexts": f"/etc/.* good\n{line}\n"})
    assert contexts.lookup("/etc/x", stat.S_IFREG) == "good"


def test_an_expression_made_to_take_for_ever_ends(monkeypatch):
    monkeypatch.setattr(selinux, "_MATCH_TIMEOUT", 0.3)
    contexts = selinux.FileContexts({"file_contexts": "/etc/(((a+)+)+)+b x\n"})
    with pytest.raises(ImageError, match="too long"):
        contexts.lookup("/etc/" + "a" * 60, stat.S_IFREG)


def test_as_libselinux_itself(tmp_path):
    name = ctypes.util.find_library("selinux")
    if not name:
        pytest.skip("there is no libselinux")
    library = ctypes.CDLL(name)
    for file, text in FILES.items():
        (tmp_path / file).write_text(text.replace("broken\n", ""))

    class Option(ctypes.Structure):
        _fields_ = [("type", ctypes.c_int), ("value", ctypes.c_char_p)]

    library.selabel_open.restype = ctypes.c_void_p
    options = (Option * 1)(Option(3, str(tmp_path / "file_contexts").encode()))   # SELABEL_OPT_PATH
    handle = library.selabel_open(0, options, 1)
    assert handle
    contexts = selinux.FileContexts(FILES)
    for path, _kind in CASES:
        for mode in (stat.S_IFREG, stat.S_IFDIR):
            label = ctypes.c_char_p()
            found = library.selabel_lookup_raw(ctypes.c_void_p(handle), ctypes.byref(label), path.encode(), mode)
            assert contexts.lookup(path, mode) == (label.value.decode() if found == 0 else None), path
