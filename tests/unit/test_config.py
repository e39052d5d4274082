"""What a project writes becomes settings, and nothing that it writes is silently without effect."""

from datetime import timedelta
from typing import Any

import celery.app.defaults as celerys
import pytest

from celeriac import celery_settings, config
from celeriac.celery_settings import MOOT, NOT_YET
from celeriac.config import ROWS, Settings, refuse, resolve
from celeriac.errors import ImproperlyConfigured, UnknownSetting


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in config.ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)


def value_of(name: str, written: str, value: Any, namespace: str | None = None) -> Any:
    resolved = resolve({written: value}, namespace=namespace)
    assert (resolved.warnings, resolved.errors) == ([], [])
    assert resolved.sources == {name: written}
    return getattr(resolved.settings, name)


class TestNames:
    def test_nothing_given(self) -> None:
        resolved = resolve({})
        assert resolved.settings == Settings()
        assert (resolved.sources, resolved.warnings, resolved.errors) == ({}, [], [])

    @pytest.mark.parametrize(
        ("written", "namespace"),
        [
            ("worker_concurrency", None),
            ("WORKER_CONCURRENCY", None),
            ("CELERYD_CONCURRENCY", None),
            ("CELERY_WORKER_CONCURRENCY", "CELERY"),
            ("CELERYD_CONCURRENCY", "CELERY"),
            ("CELERIAC_WORKER_CONCURRENCY", "CELERIAC"),
        ],
    )
    def test_one_setting_by_many_names(self, written: str, namespace: str | None) -> None:
        assert value_of("worker_concurrency", written, 4, namespace) == 4

    @pytest.mark.parametrize(("name", "old"), [(name, old) for name, row in ROWS.items() for old in row.old])
    def test_old_names_of_the_table(self, name: str, old: str) -> None:
        default = getattr(Settings(), name)
        assert value_of(name, old, default) == default
        assert value_of(name, old, default, "CELERY") == default

    def test_only_the_namespace_counts(self) -> None:
        resolved = resolve({"DEBUG": True, "WORKER_POOL": "solo", "WORKER_PO0L": 1}, namespace="CELERY")
        assert resolved.settings == Settings()
        assert (resolved.warnings, resolved.errors) == ([], [])

    def test_frameworks_own_names_are_left_alone(self) -> None:
        resolved = resolve({"DEBUG": True, "SECRET_KEY": "x", "TIME_ZONE": "UTC", "BROKER_URL": "memory://"})
        assert resolved.settings.broker_url == "memory://"
        assert (resolved.warnings, resolved.errors) == ([], [])


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("written", "namespace", "meant"),
        [
            ("broker_ulr", None, "broker_url"),
            ("worker_concurency", None, "worker_concurrency"),
            ("CELERY_BROKER_ULR", "CELERY", "CELERY_BROKER_URL"),
            ("CELERY_TASK_DEFAULT_QEUE", "CELERY", "CELERY_TASK_DEFAULT_QUEUE"),
            ("APP_RESULT_EXPIRE", "APP", "APP_RESULT_EXPIRES"),
        ],
    )
    def test_a_near_miss_is_an_error_with_the_name_that_was_meant(
        self, written: str, namespace: str | None, meant: str
    ) -> None:
        resolved = resolve({written: 1}, namespace=namespace)
        assert resolved.errors == [f"{written} is not a setting. Did you mean {meant}?"]
        assert resolved.warnings == []
        with pytest.raises(UnknownSetting, match=f"Did you mean {meant}"):
            refuse(resolved.errors)

    def test_others_are_warnings(self) -> None:
        resolved = resolve({"CELERY_FROBNICATE": 1}, namespace="CELERY")
        assert resolved.warnings == ["CELERY_FROBNICATE is not a setting of Celeriac's or Celery's."]
        assert resolved.errors == []
        refuse(resolved.errors)

    def test_all_errors_come_at_once(self) -> None:
        resolved = resolve({"broker_ulr": 1, "worker_po0l": 1})
        with pytest.raises(UnknownSetting, match=r"broker_ulr[^\n]*\nworker_po0l") as caught:
            refuse(resolved.errors)
        assert caught.value.code == "E111"


class TestCelerysNames:
    """Celery's own table, each name of which may stand in a project that moves over."""

    @pytest.mark.parametrize("name", sorted(set(celerys._TO_OLD_KEY) - set(ROWS)))
    def test_what_has_no_effect_is_told_and_stops_nothing(self, name: str) -> None:
        for written, namespace in ((name, None), (f"CELERY_{name.upper()}", "CELERY")):
            resolved = resolve({written: None}, namespace=namespace)
            assert resolved.errors == []
            (warning,) = resolved.warnings
            assert warning.startswith(f"{written} ")
            assert "not a setting" not in warning

    @pytest.mark.parametrize("old", sorted(celerys._TO_NEW_KEY))
    def test_old_names(self, old: str) -> None:
        new = celerys._TO_NEW_KEY[old]
        if new.startswith(celery_settings.OTHER_BACKENDS):
            return  # told by what they begin with where they are written in the namespace
        for namespace in (None, "CELERY") if old.startswith("CELERY") else (None,):
            resolved = resolve({old: getattr(Settings(), new, None)}, namespace=namespace)
            assert resolved.errors == []
            assert new in resolved.sources or any(old in warning for warning in resolved.warnings)
            assert not any("not a setting" in warning for warning in resolved.warnings)

    def test_parts_of_a_url_are_no_superfluous_settings(self) -> None:
        resolved = resolve({"CELERY_BROKER_HOST": "a", "CELERY_REDIS_DB": 3}, namespace="CELERY")
        assert resolved.warnings == [
            "CELERY_BROKER_HOST is not read: it belongs into CELERY_BROKER_URL.",
            "CELERY_REDIS_DB is not read: it belongs into CELERY_RESULT_BACKEND.",
        ]

    def test_a_name_is_in_one_list_only(self) -> None:
        lists = [set(ROWS), set(NOT_YET), set(MOOT), set(celery_settings.IN_URL)]
        assert sum(map(len, lists)) == len(set().union(*lists))


class TestValues:
    @pytest.mark.parametrize(
        ("name", "given", "taken"),
        [
            ("worker_concurrency", "4", 4),
            ("worker_concurrency", None, None),
            ("result_expires", timedelta(days=1), 86400.0),
            ("result_expires", 3600, 3600.0),
            ("result_expires", 0, None),
            ("result_expires", None, None),
            ("task_always_eager", "true", True),
            ("task_always_eager", "False", False),
            ("task_always_eager", 1, True),
            ("imports", ("a", "b"), ["a", "b"]),
            ("accept_content", {"json"}, ["json"]),
            ("task_routes", {"a.*": {"queue": "b"}}, {"a.*": {"queue": "b"}}),
            ("task_routes", "module.Router", "module.Router"),
            ("task_queues", ("a", "b"), ["a", "b"]),
            ("worker_lease", timedelta(seconds=3), 3.0),
            ("task_default_priority", 9, 9),
        ],
    )
    def test_taken(self, name: str, given: Any, taken: Any) -> None:
        value = value_of(name, name, given)
        assert value == taken
        assert type(value) is type(taken)

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("worker_concurrency", "four"),
            ("worker_concurrency", 1.5),
            ("broker_url", 5),
            ("broker_url", ["redis://a", "redis://b"]),
            ("result_expires", "a day"),
            ("task_acks_late", "maybe"),
            ("task_create_missing_queues", "perhaps"),
            ("accept_content", "json"),
            ("broker_transport_options", None),
            ("task_default_priority", 10),
            ("task_default_priority", -1),
        ],
    )
    def test_refused_by_name(self, name: str, given: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=name):
            resolve({name: given})

    @pytest.mark.parametrize(
        ("name", "given", "said"),
        [
            ("worker_concurrency", -1, "-1: Expected `int` >= 0."),
            ("worker_concurrency", "many", "'many': Expected `int | None`, got `str`."),
            ("worker_prefetch_multiplier", -1, "-1: Expected `int` >= 0."),
            ("worker_async_concurrency", 0, "0: Expected `int` >= 1."),
            ("worker_max_message_bytes", 0, "0: Expected `int` >= 1."),
            ("task_max_deliveries", -2, "-2: Expected `int` >= 1."),
            ("worker_lease", 0, "0: Expected `float` > 0.0."),
            ("worker_lease", "nan", "'nan': Expected `float` > 0.0."),
            ("worker_lease", float("inf"), "inf: Expected `float` <= 1000000000.0."),
            ("task_publish_timeout", timedelta(seconds=-1), "-1.0: Expected `float` > 0.0."),
            ("broker_connection_timeout", 0.0, "0.0: Expected `float` > 0.0."),
            ("worker_soft_shutdown_timeout", -1, "-1: Expected `float` >= 0.0."),
            ("result_expires", -60, "-60: Expected `float` >= 0.0."),
        ],
    )
    def test_out_of_range(self, name: str, given: Any, said: str) -> None:
        written = f"CELERY_{name.upper()}"
        with pytest.raises(ImproperlyConfigured) as raised:
            resolve({written: given}, namespace="CELERY")
        assert str(raised.value) == f"{written} = {said}"
        with pytest.raises(ImproperlyConfigured, match=f"^{name} = "):
            Settings().update({name: given})
        with pytest.raises(
            ImproperlyConfigured, match=name if "priority" in name else f"CELERY_{name.upper()}"
        ):
            resolve({f"CELERY_{name.upper()}": given}, namespace="CELERY")

    def test_no_password_in_an_error(self) -> None:
        urls = ["redis://:s3cret@a/0", "redis://user:s3cret@b/0"]
        with pytest.raises(ImproperlyConfigured) as caught:
            resolve({"broker_url": urls})
        assert "s3cret" not in str(caught.value)
        assert "redis://user:***@b/0" in str(caught.value)


class TestSources:
    def test_defaults_of_the_framework_give_way(self) -> None:
        resolved = resolve(
            {"result_backend": "memory://"}, defaults={"result_backend": "django-db", "timezone": "UTC"}
        )
        assert (resolved.settings.result_backend, resolved.settings.timezone) == ("memory://", "UTC")
        assert resolved.sources == {
            "result_backend": "result_backend",
            "timezone": "default of the framework",
        }

    def test_defaults_may_come_from_somewhere(self) -> None:
        resolved = resolve({}, defaults={"timezone": "UTC"}, origins={"timezone": "TIME_ZONE"})
        assert resolved.sources == {"timezone": "TIME_ZONE"}

    def test_celerys_defaults_can_be_written_down(self) -> None:
        for name, option in celerys.flatten(celerys.NAMESPACES):
            resolved = resolve({f"CELERY_{name.upper()}": option.default}, namespace="CELERY")
            assert resolved.errors == []
            assert (name in resolved.sources) == (name in ROWS)
            assert bool(resolved.warnings) == (name not in ROWS)

    def test_the_environment_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CELERY_BROKER_URL", "redis://env")
        monkeypatch.setenv("CELERY_RESULT_BACKEND", "")
        monkeypatch.setenv("CELERY_WORKER_CONCURRENCY", "9")
        given = {"CELERY_BROKER_URL": "redis://file", "CELERY_RESULT_BACKEND": "memory://"}
        resolved = resolve(given, namespace="CELERY")
        assert (resolved.settings.broker_url, resolved.settings.result_backend) == (
            "redis://env",
            "memory://",
        )
        assert resolved.sources["broker_url"] == "environment variable CELERY_BROKER_URL"
        assert resolved.settings.worker_concurrency is None, "only the two that Celery reads"

    def test_what_came_before_is_overridden_and_kept(self) -> None:
        first = resolve({"worker_concurrency": 2, "timezone": "UTC", "frobnicate": 1})
        second = resolve({"worker_concurrency": 3}, before=first)
        assert (second.settings.worker_concurrency, second.settings.timezone) == (3, "UTC")
        assert second.warnings == first.warnings

    def test_what_was_given_is_not_changed(self) -> None:
        given = {"imports": ("a",), "result_expires": timedelta(1)}
        resolve(given, defaults=(defaults := {"worker_concurrency": "3"}))
        assert given == {"imports": ("a",), "result_expires": timedelta(1)}
        assert defaults == {"worker_concurrency": "3"}


class TestTable:
    @pytest.mark.parametrize("name", Settings.__struct_fields__)
    def test_every_setting_has_its_row(self, name: str) -> None:
        assert ROWS[name].help.endswith(".")
        assert 15 < len(ROWS[name].help) < 200

    def test_old_names_are_unique(self) -> None:
        olds = [old for row in ROWS.values() for old in row.old]
        assert len(olds) == len(set(olds))

    def test_defaults_are_celerys_where_both_have_them(self) -> None:
        """Where they differ, it is meant, and the list says so."""
        theirs = dict(celerys.flatten(celerys.NAMESPACES))
        differ = {
            name for name in ROWS if name in theirs and theirs[name].default != getattr(Settings(), name)
        }
        assert differ == {
            "accept_content", "broker_connection_timeout", "imports", "include",
            "result_expires", "result_extended", "task_acks_late", "worker_hijack_root_logger",
            "worker_log_format", "worker_prefetch_multiplier", "worker_redirect_stdouts", "worker_task_log_format",
        }  # fmt: skip
