# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Limits of names and tags (Tagging Overview: 10 freeform and 64 defined tags, keys of 100 and values of 256 characters, keys without periods)."""
import re

from .errors import invalid

# The one tag namespace of the lab's tenancy, and its keys.
DEFINED = {'operations': {'owner', 'cost_center'}}
KEY = re.compile(r'[!-\-/-~]{1,100}')      # printable ASCII but periods and spaces


def check(body):
    """ServiceError 400 for tags, or a display name, that the service does not take."""
    freeform = body.get('freeformTags') or {}
    if len(freeform) > 10:
        raise invalid('The number of freeform tags exceeds the limit of 10')
    for key, value in freeform.items():
        if not KEY.fullmatch(key):
            raise invalid("The key of the freeform tag '%s' is not valid" % key)
        if len(value) > 256:
            raise invalid("The value of the freeform tag '%s' is longer than 256 characters" % key)
    for namespace, values in (body.get('definedTags') or {}).items():
        for key, value in values.items():
            if namespace not in DEFINED or key not in DEFINED[namespace]:
                raise invalid('TagNamespace or TagKey does not exist or is not authorized: %s.%s' % (namespace, key))
            if not isinstance(value, str) or len(value) > 256:
                raise invalid('The value of the defined tag %s.%s is not valid' % (namespace, key))
    name = body.get('displayName')
    if name is not None and not 1 <= len(name) <= 255:
        raise invalid('displayName must have between 1 and 255 characters')
