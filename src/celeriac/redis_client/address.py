"""Where a Redis server is: the URL of a broker or result store, read once.

Forms, as kombu has them: `redis://[user:password@]host[:port][/db]`, `rediss://` with `?ssl_cert_reqs=...`,
`valkey://`, and `redis+socket:///path?virtual_host=N` for a Unix socket.
"""

import re
import ssl
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from celeriac.errors import ImproperlyConfigured
from celeriac.schemes import mask

_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Place(Struct, frozen=True):
    """A database of a server; equal places hold the same keys."""

    host: str
    port: int
    path: str
    db: int


class Tls(Struct, frozen=True):
    """How a TLS connection is verified."""

    cert_reqs: ssl.VerifyMode = ssl.CERT_REQUIRED
    check_hostname: bool = True
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context to wrap a socket with."""
        context = ssl.create_default_context(cafile=self.ca_certs)
        context.check_hostname = self.check_hostname and self.cert_reqs is ssl.CERT_REQUIRED
        context.verify_mode = self.cert_reqs
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile)
        return context


class Address(Struct, frozen=True):
    """What a connection needs to know. `safe_url` is the URL without its password."""

    place: Place
    username: str | None
    password: str | None
    tls: Tls | None
    safe_url: str


def parse(url: str) -> Address:
    """Read `url`; raises ImproperlyConfigured with what is wrong with it."""
    safe_url = re.sub(r"(?<=[?&]password=)[^&]*", "***", mask(url))
    if ";" in url:
        raise ImproperlyConfigured(f"{safe_url} names several servers; Celeriac talks to one. Name one.")
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return Address(
        _place(parts, options, safe_url),
        unquote(parts.username) if parts.username else options.get("username"),
        unquote(parts.password) if parts.password else options.get("password"),
        _tls(options, safe_url) if parts.scheme == "rediss" else None,
        safe_url,
    )


def _place(parts: SplitResult, options: dict[str, str], safe_url: str) -> Place:
    given = options.get("virtual_host") or options.get("db")
    if parts.scheme.endswith("+socket"):
        return Place("", 0, parts.path, _number(given or "0", safe_url))
    try:
        port = parts.port or 6379
    except ValueError:
        raise ImproperlyConfigured(f"{safe_url}: the port is not a number from 1 to 65535.") from None
    return Place(
        parts.hostname or "localhost", port, "", _number(parts.path.strip("/") or given or "0", safe_url)
    )


def _number(text: str, safe_url: str) -> int:
    if not text.lstrip("/").isdecimal():
        raise ImproperlyConfigured(
            f"{safe_url}: {text!r} is not the number of a Redis database. Write it like redis://localhost:6379/0."
        )
    return int(text.lstrip("/"))


def _tls(options: dict[str, str], safe_url: str) -> Tls:
    wanted = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if wanted not in _CERT_REQS:
        raise ImproperlyConfigured(
            f"{safe_url}: ssl_cert_reqs is {options['ssl_cert_reqs']!r}. Known: {', '.join(_CERT_REQS)}."
        )
    return Tls(
        _CERT_REQS[wanted],
        options.get("ssl_check_hostname", "true").lower() not in {"false", "0", "no"},
        options.get("ssl_ca_certs"),
        options.get("ssl_certfile"),
        options.get("ssl_keyfile"),
    )
