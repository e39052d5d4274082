"""Asks for each page of the admin and prints what it is answered with: `python -m tests.browser.pages`.

In a process of its own, for what a skin changes in Django's admin stays changed. Called by test_skins.py.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.browser.settings")

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.test import Client  # noqa: E402

from celeriac import registry  # noqa: E402
from celeriac.django.models import Schedule, TaskResult  # noqa: E402
from tests.browser import filled  # noqa: E402

HERE = "/admin/celeriac/"


def pages() -> dict[str, str]:
    """Return the pages, and what has to be on each."""
    failed = TaskResult.objects.filter(state="FAILURE")[0]
    poll = Schedule.objects.get(name="Poll the warehouse")
    (letter, *_) = registry.current_app().broker.dead_letters()
    return {
        "taskresult/": "send_receipt",
        "taskresult/?q=no-such-task": "Nothing is stored of",
        f"taskresult/{failed.pk}/change/": "mail.example.com does not answer",
        "message/": "blog.tasks.send",
        "schedule/": 'action="/admin/celeriac/schedule/pause/"',
        "schedule/?q=Poll": 'class="celeriac-strip"',
        "schedule/add/": "celeriac-preview",
        f"schedule/{poll.pk}/change/": "Save and run now",
        "queue/": "none reads it",
        "deadletter/": "it was lost with its process 3 times",
        f"deadletter/{letter.key}/amend/": "Put back",
    }


def main() -> None:
    filled.set_up(fill_it=True)
    client = Client()
    client.force_login(User.objects.get())
    for url, text in pages().items():
        response = client.get(HERE + url)
        html = response.content.decode()
        found = text in html and "celeriac/admin.css" in html
        print(f"{'ok' if response.status_code == 200 and found else 'BAD'} {response.status_code} {url}")


if __name__ == "__main__":
    main()
