"""Signatures of releases: Ed25519 over the hash of a manifest, which holds the hashes of all files.

The private key stays where models are trained; whoever serves needs the public one only.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nightgate.errors import FileMissing, NotVerified, StoreError, UsageError
from nightgate.settings import Settings

PREFIX = b"nightgate release "
"""Begins what is signed, so that a signature stands for a release and for nothing else."""


def new_keys(settings: Settings) -> tuple[Path, Path]:
    """Make the installation's pair of keys; return the files. Raises UsageError where there is one: it would be lost."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = settings.signing_key, settings.public_key
    if there := [path for path in (private, public) if path.exists()]:
        raise UsageError(f"{there[0]} is there already.",
                         remedy="Move it away first; releases that it signed verify with its public key only.")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    open_one = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for path, content, mode in ((private, secret, 0o600), (public, open_one, 0o644)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    return private, public


def signature(settings: Settings, digest: str) -> bytes | None:
    """Sign a manifest's hash; None where the installation has no key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _read(settings.signing_key, "NIGHTGATE_SIGNING_KEY", partial(load_pem_private_key, password=None), Ed25519PrivateKey)
    return None if key is None else bytes(key.sign(PREFIX + digest.encode()))


def check_signature(settings: Settings, digest: str, place: str, what: str) -> None:
    """Raise NotVerified unless a manifest's hash is signed by the key that the installation trusts, where it trusts one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _read(settings.public_key, "NIGHTGATE_PUBLIC_KEY", load_pem_public_key, Ed25519PublicKey)
    if key is None:
        return
    try:
        key.verify(settings.store.read(place), PREFIX + digest.encode())
    except FileMissing:
        raise NotVerified(f"{what} is not signed, and {settings.public_key} is there to check signatures.",
                          remedy="Run the model again where the signing key is.") from None
    except InvalidSignature:
        raise NotVerified(f"{what} is not signed by the key that {settings.public_key} belongs to.",
                          remedy="Find out who wrote it; serve another version meanwhile.") from None


def _read(path: Path, variable: str, load: Callable[[bytes], object], kind: Any) -> Any:
    """Return the key of a file, of a kind; None where there is none and nobody named one."""
    try:
        key = load(path.read_bytes())
    except FileNotFoundError:
        if os.environ.get(variable):
            raise FileMissing(f"{path}, which {variable} names, is not there.", remedy="Correct it, or `nightgate keys new`.") from None
        return None
    except OSError as error:
        raise StoreError(f"The key file {path} cannot be read: {error.strerror}.",
                         remedy=f"Let this user read it, or set {variable}.") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, kind):
        raise StoreError(f"{path} is no Ed25519 key.", remedy="`nightgate keys new` makes a pair.")
    return key
