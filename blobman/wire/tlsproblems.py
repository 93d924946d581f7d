"""What can be wrong with TLS, by OpenSSL's and TLS's own numbers."""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL.SSL import X509VerificationCodes as Code

from ..errors import BlobError, CertificateError, ServerError

_NOT_TRUSTED = "is not from a trusted CA"

_CHAIN_PROBLEMS = {
    Code.ERR_CERT_HAS_EXPIRED: "has expired, by this machine's clock",
    Code.ERR_CERT_NOT_YET_VALID: "is not valid yet, by this machine's clock",
    Code.ERR_UNABLE_TO_GET_ISSUER_CERT: _NOT_TRUSTED,
    Code.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: _NOT_TRUSTED,
    Code.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: _NOT_TRUSTED,
    Code.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: f"{_NOT_TRUSTED}: it has signed itself",
    Code.ERR_SELF_SIGNED_CERT_IN_CHAIN: _NOT_TRUSTED,
    Code.ERR_CERT_UNTRUSTED: _NOT_TRUSTED,
    Code.ERR_CERT_SIGNATURE_FAILURE: f"{_NOT_TRUSTED}: the signature is wrong",
    Code.ERR_INVALID_PURPOSE: "is not for a server",
    Code.ERR_INVALID_CA: "is not one of an authority",
    Code.ERR_PERMITTED_VIOLATION: "has a name that its authority may not give",
    Code.ERR_EXCLUDED_VIOLATION: "has a name that its authority may not give",
    66: "has a key that is too weak",
    67: "has a key that is too weak",
    68: "is signed with a digest that is too weak",
}
"""By what OpenSSL calls ``X509_V_ERR_...``; pyOpenSSL has no names for the last three."""


def chain_problem(code: int, depth: int) -> CertificateError:
    """
    Say why a certificate does not verify.

    :param code: OpenSSL's.
    :param depth: 0 for the server's own certificate, more for those of its authorities.
    """
    problem = _CHAIN_PROBLEMS.get(code, f"does not verify (OpenSSL's error {code})")
    its_own = depth == 0 or problem.startswith(_NOT_TRUSTED)
    whose = "the server's certificate" if its_own else "the certificate of the server's authority"
    return CertificateError(f"{whose} {problem}")


_CLIENT_CERTIFICATE_ALERTS = frozenset({42, 43, 44, 45, 46, 48, 49, 116})
"""They are about the certificate of the one that they are sent to, and we have none."""

_VERSION_ALERTS = frozenset({70, 71})
_HANDSHAKE_FAILURE = 40
_UNRECOGNIZED_NAME = 112


def alert_problem(alert: int, host: str) -> BlobError:
    """
    Say why the server ended TLS.

    :param alert: the number of the alert that it sent (RFC 8446, section 6).
    :param host: the name that it was asked for.
    """
    if alert in _CLIENT_CERTIFICATE_ALERTS:
        return CertificateError("the server wants a client certificate, and blobman has none")
    if alert == _UNRECOGNIZED_NAME:
        return CertificateError(f"the server has no certificate for {host}")
    if alert in _VERSION_ALERTS:
        return ServerError("the server speaks no version of TLS that we do")
    if alert == _HANDSHAKE_FAILURE:
        return CertificateError(
            "the server refused TLS: it wants a client certificate, "
            "or has no version or cipher in common with us"
        )
    return ServerError(f"the server broke off TLS (alert {alert})", may_pass=True)


_NOT_TLS = frozenset({"wrong version number", "http request", "packet length too long"})
_OLD_TLS = frozenset({"unsupported protocol", "no protocols available"})


def other_problem(error: SSL.Error) -> ServerError:
    """
    Say why TLS failed here.

    :param error: pyOpenSSL's, which has OpenSSL's name of the reason and not its number.
    """
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [entry[-1] for entry in queue]
    if _NOT_TLS.intersection(reasons):
        return ServerError("the server does not speak TLS there")
    if _OLD_TLS.intersection(reasons):
        return ServerError("the server speaks no version of TLS that we do")
    words = ", ".join(reasons) or type(error).__name__
    return ServerError(f"TLS with the server failed ({words})", may_pass=True)
