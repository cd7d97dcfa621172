# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option `registry`: what of it a Job carries, and what a record may keep."""

from __future__ import annotations

from ansible_collections.ocne.images.plugins.module_utils.task import options
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo import Registry

GIVEN = {"username": "me", "password": "s3cret", "auth_file": "auth.json", "ca_cert": None, "client_cert": None, "client_key": None, "verify": False,
         "policy": "/etc/policy.json"}


def test_what_is_set_with_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert options.registry_options({"registry": GIVEN}) == {
        "username": "me", "password": "s3cret", "auth_file": f"{tmp_path}/auth.json", "verify": False, "policy": "/etc/policy.json"}
    assert options.registry_options({"registry": None}) == options.registry_options({}) == {}


def test_a_record_keeps_no_login():
    kept = options.access(options.registry_options({"registry": GIVEN}))
    assert set(kept) == {"auth_file", "verify", "policy"}


def test_the_spec_is_what_the_work_takes():
    spec = options.REGISTRY_SPEC["registry"]["options"]
    assert Registry(**dict.fromkeys(spec)) == Registry() and set(spec) == set(vars(Registry()))
    assert spec["password"]["no_log"] is True
