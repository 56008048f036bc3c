"""Pseudonyms: the same text gets the same name everywhere, and only who has the key can tell whose it is."""

from __future__ import annotations

import hashlib
import hmac
import os

from nightmill.errors import ConfigError

KEY = "NIGHTMILL_PSEUDONYM_KEY"
"""Environment variable with the secret key."""
_SHORTEST = 16


def pseudonym_key() -> bytes:
    """The secret key; raises ConfigError where it is missing or too short to be one."""
    key = os.environ.get(KEY, "").encode()
    if len(key) < _SHORTEST:
        why = f"is shorter than {_SHORTEST} characters" if key else "is not set"
        fix = f"set {KEY} to one long random text, and keep it: with another one the same people get other pseudonyms"
        raise ConfigError(f"pseudonyms need a secret key, and {KEY} {why}", where=KEY, fix=fix)
    return key


def pseudonym(text: str | None, key: bytes) -> str | None:
    """32 hexadecimal digits by HMAC-SHA-256 (RFC 2104), a keyed hash: without the key no list of names finds it.

    Blanks at both ends do not count; nothing stays nothing.
    """
    plain = text.strip() if text else ""
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()[:32] if plain else None
