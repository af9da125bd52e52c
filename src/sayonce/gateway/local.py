"""Without API keys the gateway answers this machine alone, and no web page from elsewhere in its user's name.

A server on loopback is reached by every web page that its user opens: browsers send requests to it from any site, and
a site's own name may be made to lead to it (DNS rebinding). The browser names the page in headers that no page can
change: ``Host``, ``Origin`` (RFC 6454) and ``Sec-Fetch-Site`` (W3C Fetch Metadata). Programs send no such ``Origin``.

Browsers send ``Sec-Fetch-Site`` only to addresses that they trust: ``https``, and this machine under its usual names. To
others, such as a name of ``server.allowed_hosts`` over plain ``http``, they send no ``Origin`` with a GET either. There
``Referer`` is left, which a page can leave out and cannot make up: a browser is answered where it names our page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from sayonce.errors import Forbidden, InvalidRequest, quoted
from sayonce.gateway.http import Scope, headers_of

PAGES: Final = frozenset(("/", "/docs"))
"""The pages that a link on another site may lead to."""
_SHOWN_PAGES: Final = " and ".join(sorted(PAGES))
_AUTHORITY: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::\d{0,5})?")
_ORIGIN: Final = re.compile(rb"https?://([^/]*)")
_BROWSER: Final = b"Mozilla/"
"""With this begins the ``User-Agent`` of every browser, and of few programs."""
_OWN_SITE: Final = (b"same-origin", b"none")
_REMEMBERED: Final = 256


class LocalOnly:
    """Refuses the requests of other machines, and of web pages from elsewhere.

    Args:
        allowed_hosts: names, beside those of this machine, by which a proxy on it may ask.
        origins: web pages from elsewhere that may ask: ``server.cors_origins``.

    """

    def __init__(self, allowed_hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        allowed = [name.lower() for name in allowed_hosts]
        self._names = frozenset(("localhost", "[::1]", *allowed, *(f"{name}." for name in allowed)))
        self._origins = frozenset(origin.encode() for origin in origins)
        self._known: set[bytes] = set()

    def check(self, scope: Scope) -> None:
        """Check that a request comes from this machine and from no foreign page.

        Raises:
            InvalidRequest: the request has no ``Host`` header, or more than one.
            Forbidden: it comes from another machine, or from a web page from elsewhere.

        """
        hosts, site, foreign, agent = 0, None, False, b""
        for name, value in scope["headers"]:
            if name == b"host":
                hosts += 1
                if value not in self._known:
                    self._check_host(value)
            elif name == b"origin":
                foreign = self._check_origin(value)
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"user-agent":
                agent = value
        if hosts != 1 and (hosts or scope["http_version"] != "1.0"):
            raise InvalidRequest("a request has one 'Host' header (RFC 9112 section 3.2)", param="Host")
        if not foreign and site not in _OWN_SITE:
            _check_site(site, agent, scope)

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
                f"without API keys only web pages of this machine may ask, not {_shown(value)}; if you trust them, add the "
                "origin to server.cors_origins",
                param="Origin",
            )
        return False

    def _is_local(self, authority: bytes) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return False
        name = found.group(1).decode().lower()
        return name in self._names or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    """Whether browsers, too, take this address for their own machine; of ``[::ffff:127.0.0.1]`` they do not know it."""
    try:
        return IPv4Address(name).is_loopback
    except AddressValueError:
        return False


def _check_site(site: bytes | None, agent: bytes, scope: Scope) -> None:
    if site is None:
        if agent.startswith(_BROWSER):
            _check_page(scope)
    elif not _follows_link(scope):
        raise Forbidden(
            f"without API keys a web page from another site may only link to {_SHOWN_PAGES}", param="Sec-Fetch-Site"
        )


def _check_page(scope: Scope) -> None:
    """Check that a browser which does not say from which site it asks follows a link, or asks for our own page.

    Raises:
        Forbidden: it may ask for a page from elsewhere.

    """
    headers = headers_of(scope)
    page = _ORIGIN.match(headers.get(b"origin") or headers.get(b"referer", b""))
    own = page is not None and page.group(1) == headers.get(b"host")
    if not own and not (scope["method"] == "GET" and scope["path"] in PAGES):
        raise Forbidden(
            f"without API keys a browser must say which page asks; under this name it only reaches {_SHOWN_PAGES} and "
            "what they ask for. Use https, http://localhost, or http://127.0.0.1; a program should not call itself "
            f"{_BROWSER.decode()}",
            param="Referer",
        )


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
