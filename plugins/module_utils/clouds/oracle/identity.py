# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compartments, by OCID or by their path from the tenancy; and what an OCID tells of itself."""

from __future__ import annotations

from ...common.errors import ImageError
from . import faults, sdk

_MOST_NAMES = 20    # in an error


def compartment(session, text, retry_seconds=faults.RETRY_SECONDS):
    """The OCID of a compartment that is named by its OCID or by a path from the tenancy, such as parent/child.

    An OCID is taken as it is, without a request. Raises ImageError for a path that leads nowhere, or to two, and CloudFault.
    """
    text = text.strip()
    if text.startswith("ocid1."):
        return text
    names = text.strip("/").split("/")
    if not all(names):
        raise ImageError("it is no path of a compartment", text, "write it as parent/child, from the tenancy, or give the OCID")
    if not session.tenancy:
        raise ImageError("a compartment given by its path needs the tenancy", text, "set tenancy, or give the OCID of the compartment")
    client, parent = session.identity(), session.tenancy
    for depth, name in enumerate(names):
        place = "/".join(names[:depth]) or "the tenancy"
        found = _children(client, parent, place, retry_seconds, name=name)
        if len(found) > 1:
            raise ImageError(f"there are {len(found)} compartments {name} in {place}: {', '.join(one.id for one in found)}", text, "give the OCID")
        if not found:
            raise _missing(client, session.tenancy, parent, place, name, text, retry_seconds)
        parent = found[0].id
    return parent


def region_of(identity):
    """The name of the region that an OCID is of; None where it does not tell, or the SDK does not know its region."""
    # ocid1.<type>.<realm>.[region].<unique>: of older regions the short name (iad)
    parts, regions = identity.strip().lower().split("."), sdk.load().regions
    name = regions.get_region_from_short_name(parts[3]) if len(parts) > 4 and parts[0] == "ocid1" else None
    return name if name and regions.is_region(name) else None


def _children(client, parent, place, retry_seconds, **more):
    """The active compartments in one."""
    listed = faults.pages(client.list_compartments, parent, doing="looking for compartments", where=place, retry_seconds=retry_seconds,
                          lifecycle_state="ACTIVE", **more)
    # a filter that an older private cloud does not know must not turn into another compartment
    return [one for one in listed if one.lifecycle_state == "ACTIVE" and one.name == more.get("name", one.name)]


def _missing(client, tenancy, parent, place, name, text, retry_seconds):
    """What is there instead, and where the name is, which may be meant."""
    there = sorted(one.name for one in _children(client, parent, place, retry_seconds))
    told = ", ".join(there[:_MOST_NAMES]) + (" and more" if len(there) > _MOST_NAMES else "") if there else "none"
    everything = {one.id: one for one in _children(client, tenancy, "the tenancy", retry_seconds, compartment_id_in_subtree=True)}
    elsewhere = sorted(path for path in (_path(everything, one) for one in everything.values() if one.name.lower() == name.lower()) if path != text)
    return ImageError(f"there is no compartment {name} in {place}; there is {told}", text,
                      f"did you mean {' or '.join(elsewhere[:_MOST_NAMES])}?" if elsewhere else "check the path, or give the OCID")


def _path(everything, one):
    names = []
    while one:
        names.append(one.name)
        one = everything.get(one.compartment_id)
    return "/".join(reversed(names))
