"""URLs find their keepers, and what finds none is told without its password."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.broker import Broker
from celeriac.brokers import KEEPERS as BROKERS
from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from celeriac.errors import ImproperlyConfigured, NotInstalled, UnknownScheme
from celeriac.schemes import Keepers, mask
from celeriac.stores import KEEPERS as STORES
from celeriac.stores.memory import MemoryStore


def test_memory() -> None:
    assert type(BROKERS.open("memory://", Settings())) is MemoryBroker
    assert type(BROKERS.open("MEMORY://name", Settings())) is MemoryBroker
    assert type(STORES.open("memory://", Settings())) is MemoryStore
    assert type(STORES.open("cache+memory://", Settings())) is MemoryStore


def test_settings_reach_the_keeper() -> None:
    assert BROKERS.open("memory://", Settings(worker_max_message_bytes=5)).max_message_bytes == 5


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("rediss+socket://x", "Did you mean 'redis+socket'?"),
        ("reddis://:secret@host/0", "Did you mean 'redis'?"),
        ("memroy://", "Did you mean 'memory'?"),
        ("djagno://default", "Did you mean 'django'?"),
        ("sqs://user:secret@", ""),
        ("localhost:6379", ""),
        ("", ""),
    ],
)
def test_an_unknown_scheme_is_told_with_what_there_is(url: str, hint: str) -> None:
    with pytest.raises(UnknownScheme) as caught:
        BROKERS.open(url, Settings())
    text = str(caught.value)
    assert text.startswith("broker_url is ")
    assert hint in text
    assert ("Did you mean" in text) is bool(hint)
    assert "Known: django, memory, redis" in text
    assert "secret" not in text
    assert caught.value.code == "E110"
    assert isinstance(caught.value, ImproperlyConfigured)


def test_the_setting_is_named() -> None:
    with pytest.raises(UnknownScheme, match=r"^result_backend is 'mongodb://x'"):
        STORES.open("mongodb://x", Settings())


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user:secret@host", "redis://user:***@host"),
        ("redis://user@host", "redis://user@host"),
        ("amqp://user:se:c@ret@host/vhost", "amqp://user:***@host/vhost"),
        (
            "redis+socket:///tmp/redis.sock?virtual_host=0&password=secret",
            "redis+socket:///tmp/redis.sock?virtual_host=0&password=***",
        ),
        ("rediss://host/0?ssl_keyfile_password=secret&db=1", "rediss://host/0?ssl_keyfile_password=***&db=1"),
        ("redis://host?PASSWORD=secret", "redis://host?PASSWORD=***"),
        ("memory://", "memory://"),
        ("django-db", "django-db"),
        ("", ""),
    ],
)
def test_mask(url: str, masked: str) -> None:
    assert mask(url) == masked


class TestModules:
    @pytest.fixture
    def package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A place for modules and distributions that can be imported for the time of the test."""
        monkeypatch.syspath_prepend(str(tmp_path))
        yield tmp_path
        for name in [name for name in sys.modules if name.startswith("exam_keeper")]:
            del sys.modules[name]

    def keepers(self, **built_in: tuple[str, str]) -> Keepers[Broker]:
        return Keepers(setting="broker_url", group="celeriac.brokers", built_in=built_in)

    def test_a_missing_package_names_the_extra(self, package: Path) -> None:
        (package / "exam_keeper.py").write_text("import no_such_driver.client\n")
        with pytest.raises(NotInstalled) as caught:
            self.keepers(odd=("exam_keeper:Keeper", "odd-extra")).open("odd://user:secret@host", Settings())
        assert str(caught.value) == (
            "broker_url odd://user:***@host needs the package 'no_such_driver'. "
            "Install it: pip install 'celeriac[odd-extra]'"
        )
        assert caught.value.code == "E112"

    def test_our_own_missing_module_is_no_missing_package(self, package: Path) -> None:
        (package / "exam_keeper.py").write_text("import celeriac.no_such_module\n")
        with pytest.raises(ModuleNotFoundError, match=r"celeriac\.no_such_module"):
            self.keepers(odd=("exam_keeper:Keeper", "odd-extra")).open("odd://", Settings())

    def test_a_third_partys_keeper_comes_by_its_entry_point(self, package: Path) -> None:
        (package / "exam_keeper.py").write_text(
            "from celeriac.brokers.memory import MemoryBroker\n\n\nclass Keeper(MemoryBroker):\n    pass\n"
        )
        folder = package / "exam_keeper-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: exam-keeper\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text("[celeriac.brokers]\nexam = exam_keeper:Keeper\n")
        keeper = BROKERS.open("exam://anything", Settings())
        assert type(keeper).__qualname__ == "Keeper"
        assert isinstance(keeper, MemoryBroker)
        with pytest.raises(UnknownScheme):
            STORES.open("exam://anything", Settings())
