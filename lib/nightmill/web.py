"""Addresses of the web."""

from __future__ import annotations

import urllib.request
from base64 import b64encode
from urllib.parse import unquote, urlsplit


def request(address: str, body: bytes | None = None) -> urllib.request.Request:
    """A request, with a body of JSON if any; the login that an address may hold stands where servers look for it.

    Raises ValueError for what is no address of http or https.
    """
    headers, parts = {"Content-Type": "application/json"} if body is not None else {}, urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise ValueError("it is no http address")
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return urllib.request.Request(address, body, headers)
