# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What skopeo's words mean to a user, and whether another try may help. The words are those of 1.9 to 1.22."""

from __future__ import annotations

import re

from ...common import advice
from ...common.errors import ImageError

#: pattern in skopeo's words -> (what, what to do); the first that is found counts
_MEANINGS = (
    (r"rejected by policy|Source image rejected|Running image .* is rejected|signature was required",
     "the image is rejected by the signature policy (policy.json)",
     "use an image that the policy accepts, or give another policy with registry.policy"),
    (r"x509|tls: failed to verify|certificate signed by unknown|certificate is not trusted",
     "the registry's certificate is not trusted: {detail}",
     "give the CA that signed it with registry.ca_cert, or put it into certs.d"),
    (r"tls: (certificate required|bad certificate|handshake failure)|remote error: tls",
     "the registry refused the TLS handshake: {detail}",
     "give the certificate it asks for with registry.client_cert and registry.client_key"),
    (r"server gave HTTP response to HTTPS client",
     "the registry speaks plain http",
     "set registry.verify to false for it, or mark it as insecure in registries.conf"),
    (r"permission denied", "it cannot be read: {detail}", advice.GIVE_ACCESS),
    (r"unauthorized|authentication required|invalid username/password|denied|status code 40[13]|40[13] \(?(Unauthorized|Forbidden)",
     "the registry did not let us in: {detail}",
     "log in (podman login) or set registry.username and registry.password; check that this account may read the repository and that the name is right"),
    (r"manifest unknown|name unknown|not known to registry|status code 404|404 \(?Not Found|No such image|does not resolve to an image ID|"
     r"identifier is not an image",
     "there is no such image",
     "check the repository and the tag"),
    (r"no descriptor found|Tag .* not found|reference .* not found|more than one|choose an image|no image found in (oci|archive)|does not exist in the archive",
     "the named image is not there: {detail}",
     "check the tag that follows the path"),
    (r"no image found in (manifest list|image index)",
     "the image is not there for this architecture",
     "choose another architecture"),
    (r"unsupported (legacy )?manifest|unsupported manifest MIME|Unimplemented manifest|unsupported schema version",
     "its manifest is of a kind that cannot be read: {detail}",
     "push the image again with a present-day tool (OCI or Docker schema 2)"),
    (r"no such host|server misbehaving|Temporary failure in name resolution",
     "the registry's name is not known here: {detail}",
     "check the name and DNS, or set the proxy variables (HTTPS_PROXY, NO_PROXY) in the task's environment"),
    (r"Cannot connect to the Docker daemon", "the Docker daemon cannot be reached: {detail}", "check that it runs and that this user may use it"),
    (r"connection refused|network is unreachable|no route to host|proxyconnect",
     "the registry cannot be reached: {detail}",
     "check that it runs and that a firewall or proxy (HTTPS_PROXY, NO_PROXY in the task's environment) lets us through"),
    (r"timeout|timed out|deadline exceeded|context canceled",
     "the registry did not answer in time: {detail}",
     advice.CHECK_NETWORK),
    (r"\bEOF\b|connection reset|broken pipe|http2:|GOAWAY", "the connection to the registry broke: {detail}", advice.CHECK_NETWORK),
    (r"\b429\b|toomanyrequests|too many requests", "the registry asks us to slow down: {detail}", "wait, log in (limits are higher then), or raise retries"),
    (r"status(:| code:?)? 5\d\d|internal server error|bad gateway|service unavailable",
     "the registry has a fault of its own: {detail}", "try again later, or raise retries"),
    (r"no such file or directory|not a directory", "there is nothing to read: {detail}", advice.CHECK_WORK_PATH),
    (r"no space left", "no space left on device", advice.FREE_SPACE),
    (r"corrupted blob|expected \d+ bytes in blob|does not match|Digest did not match|digest mismatch",
     "what came is not what its digest says: {detail}",
     "look for a proxy that changes content; if it stays, the image is broken and must be pushed again"),
)
_TRANSIENT = re.compile(
    r"connection refused|connection reset|broken pipe|unexpected EOF|\bEOF\b|timeout|timed out|deadline exceeded|temporary failure|Temporary failure|"
    r"network is unreachable|no route to host|server misbehaving|toomanyrequests|too many requests|\b429\b|"
    r"(status(:| code:?)? |HTTP status: |HTTP response )5\d\d|50[0234] |internal server error|bad gateway|service unavailable|http2: |server closed|GOAWAY|"
    r"use of closed network connection", re.IGNORECASE)
_LASTING = re.compile(r"x509|unauthorized|authentication required|denied|manifest unknown|name unknown|rejected|no such host|no space left|corrupted blob")


def explain(words, reference, status=None):
    """skopeo's words as an ImageError; details["transient"] where another try may help."""
    # a proxy's URL may hold a password
    words = re.sub(r"://[^/@\s]+@", "://***@", words.strip())
    line = words.splitlines()[-1] if words else f"skopeo ended with exit status {status}"
    found = re.search(r'level=fatal msg="(.*)"\s*$', line)
    line = found.group(1).replace('\\"', '"') if found else line
    what, todo = f"skopeo: {line}" if words else line, None
    for pattern, meaning, then in _MEANINGS:
        if re.search(pattern, line, re.IGNORECASE):
            what, todo = meaning.format(detail=_tail(line)), then
            break
    if what == "there is no such image" and reference.tag and re.match(r"^\d+\.\d$", reference.tag):
        todo += f"; YAML reads an unquoted version: {reference.tag}0 as the number {reference.tag}, so quote versions"
    details = {"tool": "skopeo", "status": status, "stderr": words[-4000:]}
    if _TRANSIENT.search(line) and not _LASTING.search(line):
        details["transient"] = True
    return ImageError(what, reference.text, todo, **details)


_FRAME = re.compile(r'^(Error parsing image name ".*?"|Error retrieving manifest for image|pinging container registry \S+|Get "[^"]*"|'
                    r"reading manifest \S+ in \S+|(initializing|creating) [a-z ]+?|copying [a-z ]+?): ")


def _tail(line):
    """The cause in one of Go's chains of errors, without the steps that led there."""
    while _FRAME.match(line):
        line = _FRAME.sub("", line, count=1)
    return line[-300:]
