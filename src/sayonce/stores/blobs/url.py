"""Body store URLs, and messages that name the mistake in one without repeating a secret."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sayonce.errors import ConfigError, MissingExtra

try:
    from obstore.exceptions import BaseError
    from obstore.store import LocalStore, from_url
except ModuleNotFoundError as error:
    raise MissingExtra("bodies.url", "objects") from error

from sayonce.core.clock import Clock
from sayonce.core.key import Secret
from sayonce.stores.blobs.store import DEFAULT_BUDGET_SECONDS, DEFAULT_INLINE_MAX_BYTES, BlobStore

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_FORMS: Final = """valid body store URLs:
  file:///absolute/directory                                a directory of this machine, or one that all share
  s3://bucket[/prefix][?endpoint=https://host&region=…]     S3, and what speaks its protocol
  gs://bucket[/prefix]                                      Google Cloud Storage
  az://container[/prefix]                                   Azure Blob Storage
credentials come from the environment: AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME …"""

_OPTIONS: Final = {
    "s3": {"endpoint", "region", "virtual_hosted_style_request", "allow_http"},
    "gs": set[str](),
    "az": {"endpoint", "allow_http"},
}
_RETRY: Final[RetryConfig] = {
    # Once, for a connection that the server has closed meanwhile, or a 503 that asks to slow down.
    "max_retries": 1,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=20), "max_backoff": timedelta(milliseconds=100)},
}


def open_blob_store(
    url: str,
    *,
    secret: Secret,
    folder: str = "",
    clock: Clock = time.time,
    inline_max_bytes: int = DEFAULT_INLINE_MAX_BYTES,
    budget_seconds: float = DEFAULT_BUDGET_SECONDS,
) -> BlobStore:
    """Return the body store that a URL names; a server is asked by the first call.

    ``folder`` is where in it the bodies lie: a sweep removes what its own index does not point to, and sees no others.

    Raises:
        ConfigError: the URL is none of the valid forms, or its directory cannot be written to.

    """
    objects, shown = _objects(url, folder)
    return BlobStore(
        objects, shown, secret=secret, clock=clock, inline_max_bytes=inline_max_bytes, budget_seconds=budget_seconds
    )


def _objects(url: str, folder: str) -> tuple[ObjectStore, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _wrong("it is no URL") from None
    if parts.scheme == "file":
        return _directory(parts, folder)
    if parts.scheme not in _OPTIONS:
        raise _wrong("the scheme is unknown" if parts.scheme else "there is no scheme")
    return _bucket(parts, folder)


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"bodies.url: {what}; {_FORMS}")


def _directory(parts: SplitResult, folder: str) -> tuple[ObjectStore, str]:
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not path.is_absolute() or path == Path("/"):
        raise _wrong("file:// takes the absolute path of a directory, after three slashes")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"bodies.url: {path}: {error.strerror}; name a directory whose parent exists") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"bodies.url: {path}: this user cannot write there; correct its rights, or name another")
    # An hour's directory goes with the last of its bodies.
    return LocalStore(path / folder, automatic_cleanup=True, mkdir=True), str(path)


def _bucket(parts: SplitResult, folder: str) -> tuple[ObjectStore, str]:
    if parts.username or parts.password:
        raise _wrong("credentials do not belong in the URL")
    if not parts.hostname:
        raise _wrong("the bucket is missing")
    options = _read_options(parts)
    allow_http = options.pop("allow_http", "false") == "true"
    if options.get("endpoint", "").startswith("http://") and not allow_http:
        raise _wrong("the endpoint is not encrypted; where the network is yours alone, add &allow_http=true")
    # Given any options of the client, the library takes none from the environment, such as AWS_ALLOW_HTTP.
    client: ClientConfig | None = {"allow_http": True} if allow_http else None
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    config: Any = options
    try:
        under = f"{shown.rstrip('/')}/{folder}"
        return from_url(under, config=config, client_options=client, retry_config=_RETRY), shown
    except BaseError as error:
        raise ConfigError(f"bodies.url: {shown}: {str(error).splitlines()[0]}") from None


def _read_options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _OPTIONS[parts.scheme]
    if parts.fragment or not options.keys() <= known:
        raise _wrong(f"the options of {parts.scheme}:// are {', '.join(sorted(known)) or 'none'}")
    return options
