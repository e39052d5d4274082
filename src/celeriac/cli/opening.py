"""Opens the site in the browser once the development server answers: `celeriac dev --open`."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds that the server has to come up
_PAUSE = 0.1
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where it listens, not we


class Opening:
    """Waits for the server on a thread of its own, which ends with the process. `say` tells what could not be done."""

    def __init__(self, host: str, port: int, say: Callable[[str], None]) -> None:
        self._address = (_ANYWHERE.get(host, host), port)
        name = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        self.site = f"http://{name}:{port}/"
        self._say = say
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to wait."""
        threading.Thread(target=self._open, name="celeriac-open", daemon=True).start()

    def stop(self) -> None:
        """Open nothing any more."""
        self._stopped.set()

    def _open(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._stopped.wait(_PAUSE) or time.monotonic() > end:
                return
        import webbrowser

        if not self._stopped.is_set() and not webbrowser.open(self.site):
            self._say(f"no browser could be opened; the site is at {self.site}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(self._address, timeout=1):
            return True
        return False
