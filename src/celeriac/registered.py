"""The tasks of an app: made by its decorator, registered, discovered in modules, put into the schedule.

A base class of `celeriac.app.Celeriac`. Sends nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from celeriac import naming, registry, signals
from celeriac.arguments import Arity
from celeriac.canvas import Signature
from celeriac.connected import Connected
from celeriac.decorator import MakesTasks, annotate, bind, make_task
from celeriac.schemes import imported
from celeriac.task import Task as BaseTask


class Registered(Connected):
    """Has tasks. `main` is the module name of those defined in `__main__`, `task_cls` what they are made of."""

    #: What `base` classes derive from, under Celery's name.
    Task: type[BaseTask] = BaseTask

    def __init__(
        self, main: str | None, task_cls: type[BaseTask] | str | None, given: Mapping[str, Any]
    ) -> None:
        super().__init__(given)
        self.main = main
        if task_cls is not None:
            self.Task = imported(task_cls, "task_cls") if isinstance(task_cls, str) else task_cls
        self._tasks: dict[str, BaseTask] = {}
        self._finished: set[BaseTask] = set()
        #: Entries of the schedule that code has added, by name.
        self.periodic: dict[str, dict[str, Any]] = {}
        #: Sent, both, when the tasks of the app have been loaded, as by workers and beat.
        self.on_after_configure = signals.Signal("on_after_configure")
        self.on_after_finalize = signals.Signal("on_after_finalize")
        self._discover: list[tuple[Iterable[str] | Callable[[], Iterable[str]] | None, str | None]] = []

    @property
    def _sends(self) -> Any:
        """This app, which can send: `celeriac.app` sees to that."""
        return self

    @property
    def task(self) -> MakesTasks:
        """The decorator that makes a task of a function: `@app.task` or `@app.task(bind=True, max_retries=5)`."""
        return self._make_tasks

    def _make_tasks(self, *functions: Callable[..., Any], **options: Any) -> Any:
        if functions:
            return self._register_function(functions[0], options)
        return lambda function: self._register_function(function, options)

    def _register_function(self, function: Callable[..., Any], options: Mapping[str, Any]) -> BaseTask:
        name = options.get("name") or naming.task_name(function, self.main)
        known = self._tasks.get(name)
        made = make_task(function, self._sends, name, {"base": self.Task, **options})
        if known is not None and not naming.same_function(known, made):
            naming.warn_duplicate(name, known, made)
            return known
        self._tasks[name] = made
        return made

    def register_task(self, task: BaseTask | type[BaseTask]) -> BaseTask:
        """Register an instance of a Task class (or the class); an earlier task of the name is replaced."""
        made = task() if isinstance(task, type) else task
        name = made.name or f"{type(made).__module__}.{type(made).__name__}"
        self._tasks[name] = bind(made, made.run, self._sends, name, Arity(made.run, False))
        return made

    @property
    def tasks(self) -> Mapping[str, BaseTask]:
        """All tasks by name: the app's own and the shared ones."""
        found = {**registry.shared_tasks, **self._tasks}
        for task in found.values():
            self._finish(task)
        return found

    def _finish(self, task: BaseTask) -> None:
        """Do for a task what needs the settings and the app, before it is first sent or run here."""
        if task in self._finished:
            return
        if self.conf.task_annotations is not None:
            from celeriac.annotations import annotations_of  # noqa: PLC0415 - few projects have any

            for options in annotations_of(task, self.conf.task_annotations):
                annotate(task, options)
        self._finished.add(task)
        task.on_bound(self)

    def find_task(self, name: str) -> BaseTask | None:
        """Return the task of a name that none of `tasks` had: one of the framework's own, or of the project's site."""
        if self.framework is None:
            return None
        found: BaseTask | None = self.framework.find_task(name)
        if found is None:
            self.framework.load_site()
            found = self._tasks.get(name) or registry.shared_tasks.get(name)
        if found is not None:
            self._finish(found)
        return found

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import `<package>.tasks` of each package; of every installed Django app if `packages` is None.

        `packages` may be a function that returns them. Happens when a worker starts or tasks are looked up by name,
        at once with `force`.
        """
        self._discover.append((packages, related_name))
        if force:
            # Without the signal, whose receivers may be what calls this.
            self._import_modules()

    def load_tasks(self) -> list[str]:
        """Import all modules with tasks and return their names; raises TasksModuleError.

        Before that the receivers of `import_modules` are called; what one of them raises is raised here.
        """
        for _, answer in signals.import_modules.send(self):
            if isinstance(answer, Exception):
                raise answer
        names = self._import_modules()
        self.on_after_configure.send(self, source=self.conf)
        self.on_after_finalize.send(self)
        return names

    def _import_modules(self) -> list[str]:
        from celeriac import discovery  # noqa: PLC0415 - only workers and beat need it

        names = [*self.conf.imports, *self.conf.include]
        for packages, related_name in self._discover:
            if packages is not None:
                listed = packages() if callable(packages) else packages
                names += discovery.modules_of(list(listed), related_name)
            elif self.framework is not None:
                names += self.framework.task_modules(related_name or "")
        for name in dict.fromkeys(names):
            discovery.import_tasks(name)
        return names

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Signature[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Put a call into the schedule, and return the name of its entry, which is its text unless given.

        `schedule` is seconds, a timedelta, `crontab(...)` or another schedule; `options` are those of `apply_async`.
        """
        from celeriac.periodic import entry_of  # noqa: PLC0415 - few processes have a schedule

        key = name or repr(sig)
        self.periodic[key] = entry_of(schedule, sig, args, kwargs or {}, options)
        return key
