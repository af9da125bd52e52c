"""Where a speech server is, and the key to it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from ipaddress import ip_address

import httpx

from sayonce.errors import ConfigError

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def base_urls(name: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of equal servers; a string, such as one from the environment, has commas between them.

    Raises:
        ConfigError: there is none, one of them is no plain HTTP address, or two are the same.

    """
    parts = given.split(",") if isinstance(given, str) else given
    urls: list[str] = []
    for number, part in enumerate(parts):
        option = f"base_url[{number}]" if len(parts) > 1 else "base_url"
        url = base_url(name, part, option)
        if url in urls:
            raise _wrong(name, option, f"is the same address as base_url[{urls.index(url)}]")
        urls.append(url)
    if not urls:
        raise _wrong(name, "base_url", "needs an address like http://127.0.0.1:8000/v1")
    return tuple(urls)


def base_url(name: str, given: str, option: str = "base_url") -> str:
    """Return the address in one form, so that equal servers are equal in keys.

    Raises:
        ConfigError: it is no plain HTTP address.

    """
    if re.search(r"[\s,]https?://", given.strip()):
        raise _wrong(name, option, "must be one address; several are a list, or a string with commas between them")
    try:
        url = httpx.URL(given.strip())
    except httpx.InvalidURL as error:
        raise _wrong(name, option, f"is no address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _wrong(name, option, "must be like http://127.0.0.1:8000/v1")
    if url.userinfo or url.query or url.fragment:
        raise _wrong(name, option, "must have neither credentials nor a query; a key goes into api_key_env")
    return str(url).rstrip("/")


def api_key(name: str, variable: str | None) -> str | None:
    """Return the key that an environment variable holds: configuration files are read by too many.

    Raises:
        ConfigError: it holds none.

    """
    if variable is None:
        return None
    if not _VARIABLE.fullmatch(variable):  # not repeated: it may be the key
        raise _wrong(name, "api_key_env", "must be the name of an environment variable, which holds the key")
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise _wrong(name, "api_key_env", f"names the environment variable {variable}, which holds no key")
    return key


def _wrong(name: str, option: str, what: str) -> ConfigError:
    return ConfigError(f"engines.{name}.{option} {what}")


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine."""
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
