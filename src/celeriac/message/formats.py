"""The formats that a project has to ask for: pickle, msgpack, yaml, and its own.

Rows of `celeriac.message.serializers`, which see. A format's package is imported when it is first used; whatever it
raises leaves here as an `EncodeError` or a `MessageError`.
"""

import functools
import importlib
import pickle
from collections.abc import Callable
from typing import Any

from celeriac.errors import CeleriacError, EncodeError, MessageError, NotInstalled

_PICKLE_PROTOCOL = 4  # kombu's
#: PyYAML itself can read back about 330.
_MAX_BRACKETS = 400


def writer(name: str, encoder: Callable[[Any], bytes | str] | None) -> Callable[[Any], bytes]:
    """Return a serializer's `dumps` that calls `encoder`."""
    if encoder is None:

        def refuse(_value: Any) -> bytes:
            raise EncodeError(f"The serializer {name} was registered without an encoder: it only reads.")

        return refuse

    def dumps(value: Any) -> bytes:
        try:
            written = encoder(value)
            return written.encode() if isinstance(written, str) else bytes(written)
        except CeleriacError:
            raise
        except Exception as error:
            # A serializer may raise anything, and nothing of it should look like our own failure.
            raise EncodeError(f"{type(value).__qualname__} cannot be written as {name}: {error}") from error

    return dumps


def reader(name: str, decoder: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Return a serializer's `loads` that calls `decoder`."""
    if decoder is None:

        def refuse(_data: bytes) -> Any:
            raise MessageError(f"the serializer {name} was registered without a decoder")

        return refuse

    def loads(data: bytes) -> Any:
        try:
            return decoder(data)
        except CeleriacError as error:
            raise MessageError(str(error)) from None
        except Exception as error:
            # As above, and the bytes may be anybody's.
            raise MessageError(f"not readable as {name}: {error!r}") from None

    return loads


def msgpack() -> Any:
    """Return the package, or raise NotInstalled."""
    return _package("msgpack", "msgpack", "msgpack")


def yaml() -> Any:
    """Return the package, or raise NotInstalled."""
    return _package("yaml", "PyYAML", "yaml")


def _package(module: str, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise NotInstalled(
            f"The serializer {extra} needs the package {package}. Install it: pip install 'celeriac[{extra}]'"
        ) from None


pickle_dumps = writer("pickle", lambda value: pickle.dumps(value, _PICKLE_PROTOCOL))
pickle_loads = reader("pickle", pickle.loads)  # only reached where accept_content names pickle


def msgpack_dumps(value: Any, default: Callable[[Any], Any]) -> bytes:
    """Return `value` as msgpack; `default` is asked for a plainer value of what msgpack has not."""
    return writer("msgpack", lambda each: msgpack().packb(each, use_bin_type=True, default=default))(value)


msgpack_loads = reader("msgpack", lambda data: msgpack().unpackb(data, raw=False))


@functools.cache
def _yaml_loader() -> Any:
    """Return PyYAML's safe loader, which makes no objects of the sender's choosing, with a bound on open brackets.

    Its scanner looks at all that are open for each one that opens: 10,000 would hold a worker up for seconds, to be
    refused after all because its parser cannot go so deep.
    """
    safe: Any = yaml().SafeLoader

    class Loader(safe):  # type: ignore[misc]
        def fetch_flow_collection_start(self, token: Any) -> None:
            if self.flow_level >= _MAX_BRACKETS:
                raise RecursionError("it is nested too deeply")
            super().fetch_flow_collection_start(token)

    return Loader


yaml_dumps = writer("yaml", lambda value: yaml().safe_dump(value))
yaml_loads = reader("yaml", lambda data: yaml().load(data, _yaml_loader()))
