# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults that the services tell, with the codes and words of the API reference (API Errors)."""


class ServiceError(Exception):
    """What a request gets instead of its answer."""

    def __init__(self, status, code, message, headers=None):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def cannot_parse(message):
    """The body, or a header, is not what the operation declares."""
    return ServiceError(400, 'CannotParseRequest', message)


def invalid(message):
    """A value that the operation does not accept."""
    return ServiceError(400, 'InvalidParameter', message)


def missing(message):
    """A value that the operation needs."""
    return ServiceError(400, 'MissingParameter', message)


def not_authenticated(message='The required information to complete authentication was not provided or was incorrect.'):
    """The signature, its key or its token is not good."""
    return ServiceError(401, 'NotAuthenticated', message)


def not_found():
    """A resource that is not there, or not for this caller: the service never says which."""
    return ServiceError(404, 'NotAuthorizedOrNotFound', 'Authorization failed or requested resource not found.')


def conflict(message, code='Conflict'):
    """The state of a resource forbids it."""
    return ServiceError(409, code, message)
