"""The Django app. `ready` makes Django known to Celeriac; it imports no task and opens no connection."""

from django.apps import AppConfig


class CeleriacConfig(AppConfig):
    """`celeriac.django` in INSTALLED_APPS."""

    name = "celeriac.django"
    label = "celeriac"
    verbose_name = "Celeriac"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from celeriac.django import checks, framework  # noqa: PLC0415 - they need the models

        framework.install()
        checks.register()
