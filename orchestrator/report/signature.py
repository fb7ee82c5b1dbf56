"""Who vouches for a published run: an in-toto statement about its list of hashes, signed with a key of the user's.

The statement is of in-toto's version 1, in a DSSE envelope by `securesystemslib`; keys are Ed25519, ECDSA or RSA.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import SpecError, StoreError
from orchestrator.files import read_bytes
from orchestrator.records.run_folder import RunFacts
from orchestrator.report.crate import SUMS

SIGNATURE = "SHA256SUMS.intoto.json"
"""Beside the list of hashes, which does not list it."""

_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "urn:waymark:run:v1"
_LIMIT_BYTES = 2**20
_LEAST_RSA_BITS = 2048


def signed(sums: bytes, facts: RunFacts, key: Path) -> str:
    """The envelope of the statement that these are the hashes of this run. key: the private key, in PEM.

    Raises SpecError for a file that is no such key.
    """
    _require_library()
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": SUMS, "digest": {"sha256": hashlib.sha256(sums).hexdigest()}}],
        "predicateType": _PREDICATE,
        "predicate": {"run": facts.run_id, "waymark": facts.waymark_version},
    }
    envelope = Envelope(json.dumps(statement, sort_keys=True).encode(), _PAYLOAD, {})
    with _usable(key):
        envelope.sign(CryptoSigner(_private_key(key)))
    return json.dumps(envelope.to_dict(), indent=1) + "\n"


def verify(envelope: bytes, sums: bytes, key: Path, where: str) -> None:
    """That the owner of `key` (public, in PEM) signed these hashes. where: the published run, for messages.

    Raises StoreError if it is not so, SpecError for a file that is no public key.
    """
    _require_library()
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    with _usable(key):
        public = SSlibKey.from_crypto(_public_key(key))
    try:
        said = Envelope.from_dict(json.loads(envelope))
        said.verify([public], threshold=1)
        statement = json.loads(said.payload)
        subjects = [(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]]
        kinds = (said.payload_type, statement["_type"], statement["predicateType"])
    except (Error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StoreError(f"{where}: {SIGNATURE} is not signed with {key}: do not trust it as theirs.") from None
    if kinds != (_PAYLOAD, _STATEMENT, _PREDICATE) or subjects != [(SUMS, hashlib.sha256(sums).hexdigest())]:
        raise StoreError(f"{where}: {SIGNATURE} is about something else than its {SUMS}.")


def _require_library() -> None:
    try:
        import securesystemslib.dsse  # noqa: F401
        import securesystemslib.signer  # noqa: F401
    except ImportError:
        raise SpecError("Signatures need an extra: pip install -e '.[publish]' in the clone.") from None


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Raises SpecError for a key of a kind that the library does not sign with."""
    try:
        yield
    except ValueError:
        raise SpecError(
            f"--key is {path}, a kind of key that signs no run; those that do are Ed25519, ECDSA on P-256, P-384 or "
            f"P-521, and RSA of at least {_LEAST_RSA_BITS} bits."
        ) from None


def _strong(key: Any) -> Any:
    """The key. Raises ValueError for RSA of too few bits."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise ValueError(f"RSA of {key.key_size} bits")
    return key


def _private_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise SpecError(
            f"--key is {path}, which holds no private key in PEM without a password. Make one with: "
            "openssl genpkey -algorithm ed25519 -out key.pem"
        ) from None
    return _strong(key)


def _public_key(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise SpecError(
            f"--key is {path}, which holds no public key in PEM. Make it of a private one with: "
            "openssl pkey -in key.pem -pubout -out key.pub"
        ) from None
    return _strong(key)


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, _LIMIT_BYTES)
    except OSError as error:
        raise SpecError(f"--key is {path}, which cannot be read ({error.strerror}).") from None
