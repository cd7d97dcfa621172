# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint's time, which tests may shift, and its two spellings."""
import email.utils
import time
from datetime import datetime, timezone


def now(settings):
    """Seconds since the epoch, as the endpoint sees it."""
    return time.time() + settings['clock_offset']


def iso(seconds):
    """As the services spell a time in JSON."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def http(seconds):
    """As HTTP spells a time in headers."""
    return email.utils.formatdate(seconds, usegmt=True)


def later(settings, seconds):
    """A Retry-After of so many seconds, in the spelling that is asked for."""
    return http(now(settings) + seconds) if settings['retry_after_dates'] else str(seconds)


def parse_iso(text):
    """Seconds since the epoch of an RFC 3339 time; ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(text)
    made = datetime.fromisoformat(text.replace('Z', '+00:00'))
    if made.tzinfo is None:
        raise ValueError(text)
    return made.timestamp()
