# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults that tests ask for, and what the endpoint counted.

A fault is {"kind", and "share" (0..1) or "times", "operations" (names; all without it), "skip" (so many matching requests first), "seconds"}.
Kinds: "401", "429" (with Retry-After), "500", "503"; "reset": the connection breaks, in the middle of a body where there is one; "stall": nothing moves
for `seconds`; "damage": a byte of the body changes on its way in; "wrong_md5": the answer tells another MD5; "lost_answer": the deed is done, the
connection breaks before its answer.
"""
import random
import threading

from . import clock
from .errors import ServiceError, not_authenticated

KINDS = ('401', '429', '500', '503', 'reset', 'stall', 'damage', 'wrong_md5', 'lost_answer')
FIELDS = {'kind', 'share', 'times', 'operations', 'skip', 'seconds'}
LOG_LENGTH = 10000


class Faults:
    """The faults that are asked for now."""

    def __init__(self):
        self._lock = threading.Lock()
        self._random = random.Random(0)
        self._rules = []

    def set(self, rules, seed=0):
        """Replace all; ValueError where one is not a fault."""
        for rule in rules:
            if rule.get('kind') not in KINDS or set(rule) - FIELDS or ('share' in rule) == ('times' in rule):
                raise ValueError('not a fault: %r' % rule)
        with self._lock:
            self._random = random.Random(seed)
            self._rules = [dict(rule) for rule in rules]

    def pick(self, operation):
        """The fault of this request, or None."""
        with self._lock:
            for rule in self._rules:
                if operation not in rule.get('operations', [operation]):
                    continue
                if rule.get('skip'):
                    rule['skip'] -= 1
                elif 'share' in rule:
                    if self._random.random() < rule['share']:
                        return rule
                elif rule['times'] > 0:
                    rule['times'] -= 1
                    return rule
        return None


def refuse(fault, settings):
    """Raise what a fault says instead of the answer, if it is of that kind."""
    kind = fault['kind'] if fault else None
    if kind == '401':
        raise not_authenticated()
    if kind == '429':
        raise ServiceError(429, 'TooManyRequests', 'Too many requests for the tenant.', {'retry-after': clock.later(settings, settings['retry_after'])})
    if kind == '500':
        raise ServiceError(500, 'InternalServerError', 'An internal server error occurred.')
    if kind == '503':
        raise ServiceError(503, 'ServiceUnavailable', 'The service is currently unavailable.')


class Counters:
    """What came in: by operation, by status, bytes of bodies, parts of uploads, and the requests in their order."""

    def __init__(self):
        self._lock = threading.Lock()
        self.clear()

    def clear(self):
        """Start again from nothing."""
        with self._lock:
            self._about = {'operations': {}, 'statuses': {}, 'faults': {}, 'bytes_in': 0, 'parts': {}, 'requests': []}

    def request(self, operation, status, fault):
        """One request is over; status 0: its connection broke."""
        with self._lock:
            for name, key in (('operations', operation), ('statuses', str(status)), ('faults', fault)):
                if key is not None:
                    self._about[name][key] = self._about[name].get(key, 0) + 1
            if len(self._about['requests']) < LOG_LENGTH:
                self._about['requests'].append([operation, status, fault])

    def received(self, size):
        """Bytes of a body came in."""
        with self._lock:
            self._about['bytes_in'] += size

    def part(self, upload, number):
        """A part came in whole."""
        with self._lock:
            parts = self._about['parts'].setdefault(upload, {})
            parts[str(number)] = parts.get(str(number), 0) + 1

    def read(self):
        """A copy of all."""
        with self._lock:
            copy = {key: dict(value) for key, value in self._about.items() if isinstance(value, dict)}
            copy['parts'] = {upload: dict(parts) for upload, parts in self._about['parts'].items()}
            return dict(copy, bytes_in=self._about['bytes_in'], requests=list(self._about['requests']))
