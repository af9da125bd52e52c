"""Without API keys: this machine alone is answered, and no web page from elsewhere may ask in its user's name.

A server on loopback is reached by every web page that its user opens: browsers send requests to it from any site, and
a site's own name may be made to lead to it (DNS rebinding). The browser says who asks, in headers that no page can
change: ``Host``, ``Origin`` (RFC 6454) and ``Sec-Fetch-Site`` (W3C Fetch Metadata). Programs send no such ``Origin``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from sayonce.errors import Forbidden, InvalidRequest, quoted
from sayonce.gateway.http import Scope, headers_of

PAGES: Final = frozenset(("/", "/docs"))
"""What a link on another site may lead to."""
_AUTHORITY: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::\d{0,5})?")
_ORIGIN: Final = re.compile(rb"https?://([^/]*)")
_OWN_SITE: Final = (b"same-origin", b"none")
_REMEMBERED: Final = 256


class LocalOnly:
    """Refuses what another machine, or a web page from elsewhere, asks for.

    Args:
        allowed_hosts: names, beside those of this machine, by which a proxy on it may ask.
        origins: web pages from elsewhere that may ask, such as ``https://app.example.com``.

    """

    def __init__(self, allowed_hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._names = frozenset(("localhost", *(name.lower() for name in allowed_hosts)))
        self._origins = frozenset(origin.encode() for origin in origins)
        self._known: set[bytes] = set()

    def check(self, scope: Scope) -> None:
        """Check who asks.

        Raises:
            InvalidRequest: the request does not say, or says more than once, whom it asks.
            Forbidden: it is not this machine, or a web page from elsewhere.

        """
        hosts, site, foreign = 0, None, False
        for name, value in scope["headers"]:
            if name == b"host":
                hosts += 1
                if value not in self._known:
                    self._check_host(value)
            elif name == b"origin":
                foreign = self._check_origin(value)
            elif name == b"sec-fetch-site":
                site = value
        if hosts != 1 and (hosts or scope["http_version"] != "1.0"):
            raise InvalidRequest("a request has one 'Host' header (RFC 9112 section 3.2)", param="Host")
        if site is not None and site not in _OWN_SITE and not (foreign or _follows_link(scope)):
            raise Forbidden(
                f"without API keys a web page from another site may only link to {' and '.join(sorted(PAGES))}",
                param="Sec-Fetch-Site",
            )

    def _check_host(self, value: bytes) -> None:
        if not self._is_local(value):
            raise Forbidden(
                "without API keys only this machine is answered, under names such as localhost and 127.0.0.1, not "
                f"{_shown(value)}; if a proxy on this machine sends that name, add it to server.allowed_hosts",
                param="Host",
            )
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add(value)

    def _check_origin(self, value: bytes) -> bool:
        """Return whether a page that may ask is from elsewhere."""
        if value in self._origins:
            return True
        found = _ORIGIN.fullmatch(value)
        if found is None or not self._is_local(found.group(1)):
            raise Forbidden(
                f"without API keys only web pages of this machine may ask, not {_shown(value)}", param="Origin"
            )
        return False

    def _is_local(self, authority: bytes) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return False
        name = found.group(1).decode().lower().removesuffix(".")
        return name in self._names or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        if not name.startswith("["):
            return IPv4Address(name).is_loopback
        address = IPv6Address(name[1:-1])
    except AddressValueError:
        return False
    return address.is_loopback or (address.ipv4_mapped is not None and address.ipv4_mapped.is_loopback)


def _follows_link(scope: Scope) -> bool:
    """Whether the user follows a link to a page: nothing is told to the page that has the link."""
    return (
        scope["method"] == "GET"
        and scope["path"] in PAGES
        and headers_of(scope).get(b"sec-fetch-mode") == b"navigate"
        and headers_of(scope).get(b"sec-fetch-dest") == b"document"
    )


def _shown(value: bytes) -> str:
    return quoted(value.decode("latin-1"))
