"""What Django's development server writes, made into lines for `dev`'s terminal.

Requests become `POST /checkout/ 302`; what it says at each start, and `dev` has said better, is left out; all else
(tracebacks, warnings, prints) is passed on line by line.
"""

import re
from collections.abc import Iterator

from celeriac.cli.logs import escaped
from celeriac.cli.paint import Paint

_REQUEST = re.compile(
    r'^\[\d\d/\w{3}/\d{4} [\d:]{8}\] "(?P<call>[A-Z]+ \S+) HTTP/[\d.]+" (?P<status>\d{3}) \S+$'
)
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_KNOWN = re.compile(
    r"^(Watching for file changes with .*|Performing system checks\.\.\.|System check identified no issues .*"
    r"|Django version .*, using settings .*|Starting development server at .*|Quit the server with .*"
    r"|WARNING: This is a development server\..*|For more information on production servers see: .*"
    r"|\w+ \d\d, \d{4} - \d\d:\d\d:\d\d|Development server is running at .*|.* changed, reloading\.)$"
)


class WebLines:
    """Cuts bytes into lines and dresses them."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Return the lines that `data` completes, all that is left if there is no more."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            whole, self._rest = [self._rest], b""
        for line in whole:
            text = _COLOURS.sub("", line.decode(errors="replace").rstrip("\r"))
            if text.strip() and not _KNOWN.match(text):
                yield f"web   {self._dressed(text)}"

    def _dressed(self, text: str) -> str:
        request = _REQUEST.match(text)
        if request is None:
            return escaped(text.replace("\t", "    "))
        status = request["status"]
        colour = {"4": "yellow", "5": "red"}.get(status[0], "dim")
        return f"{self._paint(escaped(request['call']), 'dim')} {self._paint(status, colour)}"
