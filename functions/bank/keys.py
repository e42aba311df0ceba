"""The bank's keys: what they are for, how they are kept, and how they are replaced while payments flow.

    python -m functions.bank.keys new                  prints a fresh key file
    python -m functions.bank.keys rotate FILE          adds a new key of each kind to the file
    python -m functions.bank.keys jwks FILE            prints the public keys as a JSON Web Key Set (RFC 7517)

The file is JSON. Each kind is a list, oldest first; the key in use is the last one whose `active_from` has come. A new
key is known to every replica before it is used by any, because a rotation gives it a head start. Old keys stay: cards,
stored digests and tokens say by id which key they were made with.

fingerprint   HMAC-SHA-256 keys: a card number becomes a fingerprint, a request becomes a digest
cvv           HMAC-SHA-256 keys: number and expiry become a CVV
signing       P-256 keys: tokens are signed with ES256 (RFC 7518 §3.4)
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import datetime as dt
import hmac
import json
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from functions.domain.card import CardNumber, Cvv, Expiry, cvv_digits
from functions.domain.event import rfc3339

_log = logging.getLogger(__name__)

HEAD_START_SECONDS_DEFAULT: Final = 120
"""How long a new key is known before it is used: longer than a Secret takes to reach every replica."""

WATCH_SECONDS: Final = 1.0
SECRET_BYTES: Final = 32
SIGNING_ALGORITHM: Final = "ES256"


class KeyFileError(Exception):
    """The key file cannot be used; the message says why, and holds nothing of it."""


class UnknownKey(Exception):
    """Something was made with a key that the key file does not hold."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key for HMAC-SHA-256 (RFC 2104)."""

    id: str
    active_from: dt.datetime
    secret: bytes

    def __repr__(self) -> str:
        return f"SecretKey({self.id!r})"

    def digest(self, *parts: str) -> bytes:
        """The HMAC of the parts. They hold no NUL: it stands between them, so ("ab", "c") and ("a", "bc") differ."""
        return hmac.digest(self.secret, "\0".join(parts).encode(), "sha256")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A P-256 key that signs tokens."""

    id: str
    active_from: dt.datetime
    private: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r})"


Key = TypeVar("Key", SecretKey, SigningKey)


def _active(keys: Sequence[Key], now: dt.datetime) -> Key:
    return next((key for key in reversed(keys) if key.active_from <= now), keys[0])


@dataclass(frozen=True)
class Keyring:
    """The keys of one key file. Each list has at least one key, oldest first."""

    fingerprint: tuple[SecretKey, ...]
    cvv: tuple[SecretKey, ...]
    signing: tuple[SigningKey, ...]

    def fingerprints(self, number: CardNumber) -> list[bytes]:
        """The number's fingerprint under every key, in the order of the keys."""
        text = number.reveal()
        return [key.digest("card", text) for key in self.fingerprint]

    def fingerprint_key(self, now: dt.datetime) -> SecretKey:
        """The key that new fingerprints and digests are made with."""
        return _active(self.fingerprint, now)

    def fingerprint_key_by_id(self, key_id: str) -> SecretKey:
        """The key of that id. Raises UnknownKey."""
        return _by_id(self.fingerprint, key_id)

    def cvv_key(self, now: dt.datetime) -> SecretKey:
        """The key that the CVVs of new cards are made with."""
        return _active(self.cvv, now)

    def cvv_of(self, number: CardNumber, expiry: Expiry, key_id: str) -> Cvv:
        """The CVV of a card, as its issuer recomputes it. Raises UnknownKey.

        The digits are cut from an HMAC by dynamic truncation (RFC 4226 §5.3). Issuers encrypt the same inputs with
        3DES or AES inside a hardware module; the properties that matter are the same: without the key the digits are
        guesswork, with it nothing has to be stored.
        """
        mac = _by_id(self.cvv, key_id).digest("cvv", number.reveal(), f"{expiry.year:04}{expiry.month:02}")
        offset = mac[-1] & 0x0F
        truncated = int.from_bytes(mac[offset : offset + 4]) & 0x7FFFFFFF
        digits = cvv_digits(number.brand)
        return Cvv(f"{truncated % 10**digits:0{digits}}")

    def signing_key(self, now: dt.datetime) -> SigningKey:
        """The key that new tokens are signed with."""
        return _active(self.signing, now)

    def signing_key_by_id(self, key_id: str) -> SigningKey:
        """The key of that id. Raises UnknownKey."""
        return _by_id(self.signing, key_id)

    @cached_property
    def jwks(self) -> str:
        """The public halves of the signing keys, as a JSON Web Key Set (RFC 7517 §5)."""
        keys = []
        for key in self.signing:
            jwk = ECAlgorithm.to_jwk(key.private.public_key(), as_dict=True)
            keys.append({**jwk, "kid": key.id, "use": "sig", "alg": SIGNING_ALGORITHM})
        return json.dumps({"keys": keys})

    @classmethod
    def read(cls, document: str) -> Keyring:
        """The keys of a key file. Raises KeyFileError."""
        try:
            kinds = json.loads(document)
            ring = cls(
                tuple(_secret_key(entry) for entry in kinds["fingerprint"]),
                tuple(_secret_key(entry) for entry in kinds["cvv"]),
                tuple(_signing_key(entry) for entry in kinds["signing"]),
            )
        except KeyError as error:
            raise KeyFileError(f"the key file lacks {error}") from None
        except (TypeError, ValueError, binascii.Error, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"the key file is not as it should be ({type(error).__name__})") from None
        for kind in (ring.fingerprint, ring.cvv, ring.signing):
            if not kind or len({key.id for key in kind}) != len(kind):
                raise KeyFileError("each kind of key needs at least one key, and ids that differ")
        return ring


def _by_id(keys: Sequence[Key], key_id: str) -> Key:
    for key in keys:
        if key.id == key_id:
            return key
    raise UnknownKey(key_id)


def _secret_key(entry: dict[str, str]) -> SecretKey:
    secret = base64.b64decode(entry["secret"], validate=True)
    if len(secret) < SECRET_BYTES:
        raise ValueError("a secret key is too short")
    return SecretKey(entry["id"], _moment(entry), secret)


def _signing_key(entry: dict[str, str]) -> SigningKey:
    private = load_pem_private_key(entry["private_key"].encode(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ValueError("a signing key is not on P-256")
    return SigningKey(entry["id"], _moment(entry), private)


def _moment(entry: dict[str, str]) -> dt.datetime:
    moment = dt.datetime.fromisoformat(entry["active_from"])
    if moment.tzinfo is None:
        raise ValueError("a key's active_from has no time zone")
    return moment


def new_document(now: dt.datetime) -> dict[str, Any]:
    """A key file's content with one fresh key of each kind, in use at once."""
    return {kind: [make(now)] for kind, make in _MAKERS.items()}


def rotated_document(document: dict[str, Any], active_from: dt.datetime) -> dict[str, Any]:
    """The content with one more key of each kind, in use from then on."""
    return {kind: [*document[kind], make(active_from)] for kind, make in _MAKERS.items()}


def _new_entry(active_from: dt.datetime) -> dict[str, str]:
    return {"id": secrets.token_hex(4), "active_from": rfc3339(active_from)}


def _new_secret(active_from: dt.datetime) -> dict[str, str]:
    return _new_entry(active_from) | {"secret": base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}


def _new_signing(active_from: dt.datetime) -> dict[str, str]:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return _new_entry(active_from) | {"private_key": pem.decode()}


_MAKERS: Final = {"fingerprint": _new_secret, "cvv": _new_secret, "signing": _new_signing}


class KeyFile:
    """The key file of a running bank: `keyring` is what it holds now."""

    def __init__(self, path: Path) -> None:
        """Reads the file. Raises KeyFileError."""
        self._path = path
        self._seen = self._version()
        self.keyring = Keyring.read(self._text())

    async def watch(self) -> None:
        """Follows the file for as long as the task lives. A file that can't be used changes nothing, and is logged."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Reads the file again if it has changed."""
        try:
            version = self._version()
            if version == self._seen:
                return
            self._seen = version
            self.keyring = Keyring.read(self._text())
        except KeyFileError as error:
            _log.error("the keys stay as they are: %s", error)
        else:
            _log.info("the keys were read again")

    def _version(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise KeyFileError(f"the key file {self._path} cannot be read: {error.strerror}") from None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _text(self) -> str:
        try:
            return self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"the key file {self._path} cannot be read: {type(error).__name__}") from None


def rotate(path: Path, active_from: dt.datetime) -> None:
    """Adds a key of each kind to the file, which is replaced in one step: a reader sees the old one or the new one."""
    text = path.read_text()
    Keyring.read(text)
    rotated = json.dumps(rotated_document(json.loads(text), active_from), indent=2) + "\n"
    Keyring.read(rotated)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(rotated)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m functions.bank.keys", description="the bank's key file")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("new", help="print a fresh key file")
    rotation = commands.add_parser("rotate", help="add a new key of each kind to a key file")
    rotation.add_argument("file", type=Path)
    rotation.add_argument(
        "--head-start-seconds",
        type=int,
        default=HEAD_START_SECONDS_DEFAULT,
        help="how long the new keys are known before they are used (default: %(default)s)",
    )
    jwks = commands.add_parser("jwks", help="print the public keys as a JSON Web Key Set")
    jwks.add_argument("file", type=Path)
    arguments = parser.parse_args()
    now = dt.datetime.now(dt.UTC)
    try:
        if arguments.command == "new":
            print(json.dumps(new_document(now), indent=2))
        elif arguments.command == "rotate":
            rotate(arguments.file, now + dt.timedelta(seconds=arguments.head_start_seconds))
        else:
            print(KeyFile(arguments.file).keyring.jwks)
    except (KeyFileError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
