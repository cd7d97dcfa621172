# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host-name files of the oci profile: one NetworkManager dispatcher script and its switches.

An instance gets its name from DHCP, or else from the instance metadata service
(https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm). The switches are those that oci-hostname.conf of Oracle Linux has.
"""

from __future__ import annotations

CONFIGURATION = """\
# What is left as it is when an interface comes up (/etc/NetworkManager/dispatcher.d/11-ocne-oci-hostname):
#   0  nothing: host name, /etc/hosts and the search list follow the instance
#   1  the host name
#   2  the host name, /etc/hosts and the search list
#   3  the host name and /etc/hosts
PRESERVE_HOSTINFO=0
"""

SCRIPT = r"""#!/bin/bash
# Host name, /etc/hosts and search list of an Oracle Cloud Infrastructure instance, when an interface has its address.
# NetworkManager calls it with an interface and an action; made by ocne.images, switched by /etc/oci-hostname.conf.
set -u
interface=${1:-} action=${2:-}
root=${OCNE_ROOT:-}                     # for tests only
metadata=http://169.254.169.254/opc/v2
fqdn_pattern='^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$'

# Without DHCP, only a connection with a gateway is asked about: not loopback, bridges of containers, or a lease that is still to come.
case $action/${DHCP4_IP_ADDRESS:-}/${IP4_GATEWAY:-0.0.0.0} in
  up//0.0.0.0 | dhcp4-change//*) exit 0 ;;
  up/* | dhcp4-change/*) ;;
  *) exit 0 ;;
esac

PRESERVE_HOSTINFO=0
value=$(sed -n 's/^[[:space:]]*PRESERVE_HOSTINFO=["'\'']\{0,1\}\([0-3]\).*/\1/p' "$root/etc/oci-hostname.conf" 2>/dev/null | tail -n 1)
PRESERVE_HOSTINFO=${value:-$PRESERVE_HOSTINFO}

ask() {
  curl --silent --fail --noproxy '*' --max-time 5 --retry 2 --header 'Authorization: Bearer Oracle' "$metadata/$1"
}

valid() {
  [ "${#1}" -le 253 ] && [[ $1 =~ $fqdn_pattern ]] && [[ $1 != *..* ]]
}

address=${DHCP4_IP_ADDRESS:-}
name=${DHCP4_HOST_NAME:-}
domain=${DHCP4_DOMAIN_NAME:-}
domain=${domain%% *}
if [ -z "$address" ]; then
  address=$(ask vnics/0/privateIp)
fi
if [ -z "$name" ]; then
  name=$(ask instance/hostname)
fi
# a name with its domain tells both
case $name in
  *.*)
    domain=${domain:-${name#*.}}
    name=${name%%.*}
    ;;
esac
if ! valid "$name" || [ "$name" = localhost ] || { [ -n "$domain" ] && ! valid "$domain"; }; then
  exit 0
fi
[[ $address =~ ^[0-9]+(\.[0-9]+){3}$ ]] || exit 0
fqdn=$name${domain:+.$domain}

if [ "$PRESERVE_HOSTINFO" = 0 ] && [ "$(cat "$root/etc/hostname" 2>/dev/null)" != "$name" ]; then
  hostnamectl set-hostname "$name" 2>/dev/null || hostname "$name"
fi

# one line for this address and this name, in place of older ones
if [ "$PRESERVE_HOSTINFO" -le 1 ]; then
  hosts=$root/etc/hosts
  wanted="$address $fqdn"
  [ "$fqdn" != "$name" ] && wanted="$wanted $name"
  new=$(awk -v address="$address" -v fqdn="$fqdn" -v name="$name" '
    { drop = $1 == address
      for (i = 2; i <= NF && $i !~ /^#/; i++) if ($1 !~ /^(#|127\.|::1$)/ && ($i == fqdn || $i == name)) drop = 1
      if (!drop) print }' "$hosts" 2>/dev/null
    printf '%s' "$wanted")
  if [ "$new" != "$(cat "$hosts" 2>/dev/null)" ]; then
    # written in place: owner, mode and label stay
    printf '%s\n' "$new" >"$hosts"
  fi
fi

# the subnet's domain, and the VCN's above it: <subnet>.<vcn>.oraclevcn.com
search=$domain
case $domain in
  *.*.oraclevcn.com) search="$domain ${domain#*.}" ;;
esac
if [ -n "$search" ] && [ -n "$interface" ] && [ "$PRESERVE_HOSTINFO" != 2 ]; then
  current=$(nmcli -g IP4.DOMAIN,IP4.SEARCHES device show "$interface" 2>/dev/null | tr '|\n' '  ')
  missing=
  for part in $search; do
    case " $current " in
      *" $part "*) ;;
      *) missing=1 ;;
    esac
  done
  if [ -n "$missing" ]; then
    # of the running system only: the next lease may name others
    nmcli device modify "$interface" ipv4.dns-search "${search// /,}" >/dev/null 2>&1
  fi
fi

# names may take a while to appear in DNS; this only tells, and changes nothing
if [ "$fqdn" != "$name" ]; then
  (
    for _ in {1..24}; do
      getent ahostsv4 "$fqdn" >/dev/null 2>&1 && exit 0
      sleep 5
    done
    logger -t ocne-oci-hostname "DNS does not know $fqdn after two minutes"
  ) </dev/null >/dev/null 2>&1 &
fi
exit 0
"""

FILES = [
    {"path": "/etc/oci-hostname.conf", "content": CONFIGURATION, "mode": "0644"},
    {"path": "/etc/NetworkManager/dispatcher.d/11-ocne-oci-hostname", "content": SCRIPT, "mode": "0755"},
]
