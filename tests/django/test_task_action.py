"""The action that sends a task for each object that was chosen in an admin of the project's own."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, override_settings

from celeriac.app import Celeriac
from celeriac.django import framework
from celeriac.django.admin.task_action import task_action
from celeriac.django.models import Message
from celeriac.message import protocol

GROUPS = "/admin/auth/group/"


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app: Celeriac = framework.make_default_app()

    @app.task(name="shop.tasks.invite")
    def invite(group_id: int) -> None: ...

    group_admin = admin.site._registry[Group]
    were = group_admin.actions
    group_admin.actions = [
        task_action(invite, arg="group_id", queue="mails"),
        task_action(invite, description="By place", permissions=["view"]),
    ]
    yield app
    group_admin.actions = were
    app.close()


@pytest.fixture
def groups() -> Iterator[list[Group]]:
    made = [Group.objects.create(name=name) for name in ("north", "south")]
    yield made
    Group.objects.all().delete()


def act(client: Client, action: str, groups: list[Group]) -> str:
    given = {"action": action, "_selected_action": [group.pk for group in groups]}
    return client.post(GROUPS, given, follow=True).content.decode()


def sent() -> list[tuple[str, str]]:
    """Queue and shown arguments of what waits."""
    rows = Message.objects.select_related("body").order_by("id")
    headers = [protocol.decode(bytes(row.body.payload)).headers for row in rows]
    return [
        (row.queue, f"{each.argsrepr} {each.kwargsrepr}") for row, each in zip(rows, headers, strict=True)
    ]


def test_one_task_for_each_object(boss: Client, app: Celeriac, groups: list[Group]) -> None:
    html = act(boss, "shop_tasks_invite", groups)
    assert "Invite: 2 tasks were sent." in html
    assert "/admin/celeriac/taskresult/?q=shop.tasks.invite" in html
    keys = sorted((group.pk for group in groups), reverse=True)
    assert sorted(sent(), reverse=True) == [("mails", f"() {{'group_id': {key}}}") for key in keys]


def test_the_key_as_the_first_argument(boss: Client, app: Celeriac, groups: list[Group]) -> None:
    assert "By place: 1 task was sent." in act(boss, "shop_tasks_invite_by_place", groups[:1])
    assert sent() == [("celery", f"({groups[0].pk},) {{}}")]


def test_permissions(clerk: tuple[Client, User], app: Celeriac, groups: list[Group]) -> None:
    client, user = clerk
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    act(client, "shop_tasks_invite", groups)
    assert sent() == []
    act(client, "shop_tasks_invite_by_place", groups[:1])
    assert len(sent()) == 1


def test_a_broker_that_is_down_is_told(boss: Client, app: Celeriac, groups: list[Group]) -> None:
    with override_settings(CELERY_BROKER_URL="redis://127.0.0.1:1", CELERY_TASK_PUBLISH_TIMEOUT=0.2):
        html = act(boss, "shop_tasks_invite", groups)
        app.broker.close()
    assert "Cannot reach redis://127.0.0.1:1" in html
    assert "tasks were sent" not in html
