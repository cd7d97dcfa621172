# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host-name script of the oci profile, run with stand-ins for what it calls."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ansible_collections.ocne.images.plugins.module_utils.platforms import oracle_hostname

DHCP = {"DHCP4_IP_ADDRESS": "10.0.1.7", "DHCP4_HOST_NAME": "web1", "DHCP4_DOMAIN_NAME": "sub1.vcn1.oraclevcn.com"}
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
STANDINS = {
    "hostnamectl": 'echo "hostnamectl $*" >>"$LOG"; echo "$2" >"$OCNE_ROOT/etc/hostname"',
    "nmcli": 'case $* in *show*) cat "$OCNE_ROOT/domains" ;; *) echo "nmcli $*" >>"$LOG" ;; esac',
    "curl": 'echo "curl $*" >>"$LOG"; case $* in *privateIp) echo 10.0.9.9 ;; *hostname) echo meta1 ;; esac',
    "getent": "exit 0",
    "logger": 'echo "logger $*" >>"$LOG"',
    "sleep": "exit 0",
}


@pytest.fixture
def host(tmp_path):
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text(HOSTS)
    (tmp_path / "etc/oci-hostname.conf").write_text(oracle_hostname.CONFIGURATION)
    (tmp_path / "domains").write_text("\n")
    (tmp_path / "log").write_text("")
    (tmp_path / "script").write_text(oracle_hostname.SCRIPT)
    for name, text in STANDINS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(action="up", interface="ens3", **variables):
        environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "OCNE_ROOT": str(tmp_path), "LOG": str(tmp_path / "log"), **variables}
        subprocess.run(["bash", str(tmp_path / "script"), interface, action], env=environment, check=True, timeout=20)
        return (tmp_path / "log").read_text()

    run.path = tmp_path
    run.hosts = (tmp_path / "etc/hosts").read_text
    return run


def preserve(host, value):
    (host.path / "etc/oci-hostname.conf").write_text(f"# x\nPRESERVE_HOSTINFO={value}\n")


def test_all_from_dhcp(host):
    log = host(**DHCP)
    assert "hostnamectl set-hostname web1\n" in log
    assert host.hosts() == HOSTS + "10.0.1.7 web1.sub1.vcn1.oraclevcn.com web1\n"
    assert "nmcli device modify ens3 ipv4.dns-search sub1.vcn1.oraclevcn.com,vcn1.oraclevcn.com\n" in log
    assert "curl" not in log


def test_the_second_time_nothing_changes(host):
    host(**DHCP)
    (host.path / "domains").write_text("sub1.vcn1.oraclevcn.com | vcn1.oraclevcn.com\n")
    (host.path / "log").write_text("")
    before = (host.path / "etc/hosts").stat().st_mtime_ns
    assert host("dhcp4-change", **DHCP) == ""
    assert (host.path / "etc/hosts").stat().st_mtime_ns == before


def test_old_lines_of_the_address_and_the_name_go(host):
    (host.path / "etc/hosts").write_text(HOSTS + "10.0.1.7 old.name old # x\n10.0.1.6 web1\n10.0.1.70 other # web1\n# 10.0.1.7 web1\n127.0.1.1 web1\n")
    host(**DHCP)
    assert host.hosts() == HOSTS + "10.0.1.70 other # web1\n# 10.0.1.7 web1\n127.0.1.1 web1\n10.0.1.7 web1.sub1.vcn1.oraclevcn.com web1\n"


def test_the_metadata_service_where_dhcp_says_nothing(host):
    log = host(IP4_GATEWAY="10.0.0.1")
    assert "Authorization: Bearer Oracle" in log and "http://169.254.169.254/opc/v2/instance/hostname" in log
    assert "hostnamectl set-hostname meta1" in log
    assert host.hosts() == HOSTS + "10.0.9.9 meta1\n"


def test_only_the_name_from_the_metadata_service(host):
    log = host(DHCP4_IP_ADDRESS="10.0.1.7", DHCP4_DOMAIN_NAME="example.com")
    assert "privateIp" not in log
    assert host.hosts() == HOSTS + "10.0.1.7 meta1.example.com meta1\n"
    assert "ipv4.dns-search example.com\n" in log


@pytest.mark.parametrize("action,variables", [
    ("down", DHCP), ("pre-up", DHCP), ("", DHCP), ("dhcp4-change", {}), ("dhcp4-change", {"IP4_GATEWAY": "10.0.0.1"}), ("up", {}),
    ("up", {"IP4_GATEWAY": "0.0.0.0"}), ("up", {"IP4_ADDRESS_0": "10.244.0.1/24"}),
])
def test_other_events_are_left_alone(host, action, variables):
    assert host(action, **variables) == ""
    assert host.hosts() == HOSTS


@pytest.mark.parametrize("value,name,hosts,search", [("0", True, True, True), ("1", False, True, True), ("2", False, False, False), ("3", False, False, True),
                                                     ('"2"', False, False, False), ("7", True, True, True)])
def test_switches(host, value, name, hosts, search):
    preserve(host, value)
    log = host(**DHCP)
    assert ("hostnamectl" in log, "web1" in host.hosts(), "dns-search" in log) == (name, hosts, search)


@pytest.mark.parametrize("variables", [
    {"DHCP4_HOST_NAME": "localhost"}, {"DHCP4_HOST_NAME": "a b"}, {"DHCP4_HOST_NAME": "$(touch x)"}, {"DHCP4_HOST_NAME": "-x"},
    {"DHCP4_DOMAIN_NAME": "a;b"}, {"DHCP4_IP_ADDRESS": "10.0.0.1 evil"}, {"DHCP4_HOST_NAME": "a\nb"},
])
def test_names_that_are_none_change_nothing(host, variables):
    assert "set-hostname" not in host(**{**DHCP, **variables})
    assert host.hosts() == HOSTS


def test_a_name_with_its_domain(host):
    host(DHCP4_IP_ADDRESS="10.0.1.7", DHCP4_HOST_NAME="web1.example.com")
    assert host.hosts() == HOSTS + "10.0.1.7 web1.example.com web1\n"


def test_failing_dns_is_told_and_changes_nothing(host):
    (host.path / "bin/getent").write_text("#!/bin/sh\nexit 2\n")
    host(**DHCP)
    log = ""
    for _attempt in range(100):
        log = (host.path / "log").read_text()
        if "logger" in log:
            break
        subprocess.run(["/bin/sleep", "0.05"], check=True)
    assert "DNS does not know web1.sub1.vcn1.oraclevcn.com" in log
    assert host.hosts() == HOSTS + "10.0.1.7 web1.sub1.vcn1.oraclevcn.com web1\n"


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="there is no shellcheck")
def test_shellcheck():
    done = subprocess.run(["shellcheck", "-"], input=oracle_hostname.SCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
