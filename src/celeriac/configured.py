"""Where an app's settings come from: the part of an app that reads them, late and once.

A base class of `celeriac.app.Celeriac`, by way of `celeriac.connected`. Opens nothing.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celeriac import config, registry, sources
from celeriac.hooks import Framework
from celeriac.unpacking import Codec

if TYPE_CHECKING:  # who signs nothing does without
    from celeriac.message.signing import Signer


class Configured:
    """Has settings, from sources that are read when the first is asked for. `given` counts more than they do."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = dict(given)
        self._sources: list[tuple[Any, str | None]] = []
        self._resolved: config.Resolved | None = None
        self._codec: Codec | None = None
        #: What tells the time, in unix seconds, where something is due or expires.
        self.clock: Callable[[], float] = time.time

    def config_from_object(
        self, source: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Read settings from an object, a mapping or a dotted name such as "django.conf:settings".

        With `namespace="CELERY"` a setting is written `CELERY_<NAME>`. Read when first needed, at once with `force`.
        """
        self._sources.append((source, namespace))
        self._resolved = None
        self.settings_changed(())
        if force:
            self.resolved  # noqa: B018 - reads them

    @property
    def resolved(self) -> config.Resolved:
        """The settings with where they come from, and what is wrong with their names."""
        if self._resolved is None:
            self._resolved = self.read_settings()
        return self._resolved

    def read_settings(self) -> config.Resolved:
        """Read the settings anew from where they come from, without putting them into force."""
        return sources.read([*self._sources, (self._given, None)], self.framework)

    def reread_settings(self, names: Collection[str]) -> None:
        """Take the settings `names` anew from where they came, as tests change them there; the others stay."""
        if self._resolved is None:
            return
        settings, fresh = self._resolved.settings, self.read_settings()
        for name in names:
            setattr(settings, name, getattr(fresh.settings, name))
        self._resolved = config.Resolved(settings, fresh.sources, fresh.warnings, fresh.errors)
        self.settings_changed(names)

    def settings_changed(self, names: Collection[str]) -> None:
        """Forget what was made of the settings `names`, if anything; called when they have changed."""
        self._codec = None

    @property
    def conf(self) -> config.Settings:
        """The settings in force."""
        return self.resolved.settings

    @property
    def signer(self) -> "Signer | None":
        """What signs messages, None where `task_signing` is off; raises ImproperlyConfigured without a key."""
        if not self.conf.task_signing:
            return None
        from celeriac.message.signing import Signer  # noqa: PLC0415 - who signs nothing does without

        secrets: Sequence[str | bytes] = self.conf.task_signing_keys
        if not secrets and self.framework is not None:
            secrets = self.framework.signing_keys()
        # By what the clock is then: a worker sets it when its processes have started.
        return Signer(secrets, self.conf.task_signing_optional_until, lambda: self.clock())

    @property
    def codec(self) -> Codec:
        """How messages are read, and written again, under the settings in force."""
        if self._codec is None:
            self._codec = Codec(self.conf, self.signer)
        return self._codec

    @property
    def framework(self) -> Framework | None:
        """The web framework's part, None where there is none."""
        return registry.framework()
