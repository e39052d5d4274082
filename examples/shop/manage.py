#!/usr/bin/env python
"""The shop's command line: `python manage.py demo`, `python manage.py celeriac dev`, and all that Django has."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415  (Django's own order: settings first)

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
