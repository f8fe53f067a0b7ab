"""A passkey in software: makes credentials and signs with them as a device does, or as a hostile one would (WebAuthn Level 3 §6)."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256

from fortress.security.encoding import from_base64url, to_base64url

ORIGIN = "http://localhost:8000"
UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class SoftwareAuthenticator:
    """One credential, once it was made.

    Attributes:
        origin, rp_id: where it believes to be; None: the RP ID of the options.
        verifies: whether it checks its user.
        present: whether somebody touched it.
        step: what its counter grows by; 0: it has none.
    """

    origin: str = ORIGIN
    rp_id: str | None = None
    ed25519: bool = False
    verifies: bool = True
    present: bool = True
    synced: bool = False
    backed_up: bool = False
    count: int = 0
    step: int = 1
    cross_origin: bool = False
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""

    def __post_init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate() if self.ed25519 else ec.generate_private_key(ec.SECP256R1())

    def make(self, options: dict[str, Any], *, kind: str = "webauthn.create", challenge: str | None = None) -> dict[str, Any]:
        """What `navigator.credentials.create` gives, as JSON."""
        self.handle = from_base64url(options["user"]["id"])
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(self._cose())
        data = self._data(self.rp_id or options["rp"]["id"], AT) + attested
        client = self._client(kind, challenge or options["challenge"])
        response = {
            "clientDataJSON": to_base64url(client),
            "attestationObject": to_base64url(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": ["internal", "hybrid"],
        }
        return self._credential(response)

    def answer(self, options: dict[str, Any], *, kind: str = "webauthn.get", challenge: str | None = None) -> dict[str, Any]:
        """What `navigator.credentials.get` gives, as JSON."""
        self.count += self.step
        data = self._data(self.rp_id or options["rpId"])
        client = self._client(kind, challenge or options["challenge"])
        response = {
            "clientDataJSON": to_base64url(client),
            "authenticatorData": to_base64url(data),
            "signature": to_base64url(self._sign(data + hashlib.sha256(client).digest())),
            "userHandle": to_base64url(self.handle),
        }
        return self._credential(response)

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        id = to_base64url(self.id)
        extras = {"authenticatorAttachment": "platform", "clientExtensionResults": {"credProps": {"rk": True}}}
        return {"id": id, "rawId": id, "type": "public-key", "response": response, **extras}

    def _data(self, rp_id: str, more: int = 0) -> bytes:
        flags = more | (UP if self.present else 0) | (UV if self.verifies else 0)
        flags |= (BE if self.synced else 0) | (BS if self.backed_up else 0)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}).encode()

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        return self._key.sign(data, ec.ECDSA(SHA256()))

    def _cose(self) -> dict[int, Any]:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return {1: 1, 3: -8, -1: 6, -2: self._key.public_key().public_bytes_raw()}
        numbers = self._key.public_key().public_numbers()
        return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
