"""`python manage.py celeriac ...`: the same program as the console script `celeriac`.

Django has been set up and has read --settings and --pythonpath; all other words are the program's.
"""

import sys
from argparse import REMAINDER
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, handle_default_options

from celeriac.cli import main


class Command(BaseCommand):
    """The command line of Celeriac."""

    help = "Worker, development server and more: manage.py celeriac --help"
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand the words after `celeriac` on as they are."""
        parser = CommandParser(prog="celeriac", add_help=False, allow_abbrev=False)
        parser.add_argument("--settings")
        parser.add_argument("--pythonpath")
        options, words = parser.parse_known_args(argv[2:])
        handle_default_options(options)
        sys.exit(main(words, door="celeriac"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs=REMAINDER)

    def handle(self, *arguments: Any, **options: Any) -> None:
        """`call_command("celeriac", "worker", "-l", "info")`; raises CommandError with the exit status."""
        status = main([*arguments, *options["words"]], door="celeriac")
        if status:
            raise CommandError(f"celeriac ended with exit status {status}", returncode=status)
