"""Each name that Celery 5.7 has for its users, and what has become of it here: the one table of that.

Read by `verdicts` and by `docs/generate.py`, which writes `reference/coming-from-celery.md` from it.
`tests/docs/test_celerys_names.py` asks Celery for its names and Celeriac for what it has, and fails where a row is
missing or untrue. What is imported stands in `imports`; what the code itself says of settings, flags and commands is
added in `told`.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct, field

SAME, DIFFERS, LATER, ABSENT_HERE = "the same", "differs", "later", "not here"

_CANVAS = "chains, groups and chords come later"
_EVENTS = "events come later"
_CONTROL = "remote control comes later"
_PARTS = "the worker is made of other parts"
_INTERNAL = "a part of Celery's inside"


class Section(Struct):
    """The names of one kind, each with its state; names that share a reason stand together, parted by spaces."""

    title: str
    about: str = ""
    same: str = ""
    differs: Mapping[str, str] = field(default_factory=dict)
    later: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[tuple[list[str], str, str]]:
        """Return names, state and reason, one line for each reason."""
        if self.same:
            yield self.same.split(), SAME, ""
        for state, reasons in ((DIFFERS, self.differs), (LATER, self.later), (ABSENT_HERE, self.absent)):
            for names, reason in reasons.items():
                yield names.split(), state, reason

    def states(self) -> dict[str, str]:
        """Return the state of each name."""
        return {name: state for names, state, _ in self.lines() for name in names}


TASK = Section(
    "Tasks",
    "Options of `@app.task` and `@shared_task`, which are attributes of a `base` class as well, and methods of tasks.",
    same=(
        "AsyncResult acks_on_failure_or_timeout after_return app apply autoretry_for base before_start bind "
        "compression default_retry_delay delay dont_autoretry_for exchange expires ignore_result max_retries name "
        "on_failure on_retry on_success pydantic_context pydantic_dump_kwargs pydantic_strict "
        "queue request retry_backoff retry_backoff_max retry_jitter retry_kwargs "
        "retry_on_worker_lost routing_key run serializer shadow_name si signature soft_time_limit store_eager_result "
        "store_errors_even_if_ignored subtask throws time_limit track_started update_state"
    ),
    differs={
        "acks_late": "unset and `True`: settled after the run; only `False` settles it before",
        "apply_async": "an option that there is not raises `UnknownOption`",
        "apply_async_on_commit delay_on_commit": "return the handle, not `None`",
        "on_bound": "is called once for each app",
        "priority": "9 is first on Redis too, unless `mixed_fleet`",
        "pydantic": "arguments are checked against the function at the call too, `*args` and `**kwargs` are "
        "validated one by one, coroutine functions and `base` classes may have it",
        "acks_on_failure": "`False`: the message becomes a dead letter",
        "acks_on_timeout": "`False`: it goes back to its queue, `task_max_deliveries` times at most",
        "reject_on_worker_lost": "unset is `True`, `task_max_deliveries` times at most; only `False` makes it fail",
        "retry": "takes `queue` and `priority` besides its own parameters, and keeps the call's other options",
        "s": "a signature, which cannot be part of a chain, group or chord yet",
        "trail": "of the children of a task the first 1,000 are noted",
        "typing": "what is raised, `CallError`, is a `TypeError` that says more",
    },
    later={
        "add_to_chord chunks map on_replace replace signature_from_request starmap "
        "subtask_from_request": _CANVAS,
        "rate_limit": "rate limits come later",
        "send_event send_events": _EVENTS,
    },
    absent={
        "MaxRetriesExceededError OperationalError": "import it from `celeriac.errors`; the latter is `BrokerDown`",
        "Request Strategy start_strategy": _PARTS,
        "abstract": "may be set and is not needed: a class is no task until it is registered",
        "add_around annotate from_config": "`task_annotations` is applied by the app",
        "backend": "results are read through `AsyncResult`; the store is `app.store`",
        "delivery_mode exchange_type": "may be set, without effect: messages are always kept, queues are declared in "
        "`task_queues`",
        "lazy": "may be set, without effect: a task is there as soon as it is defined",
        "add_trail": "`self.request.add_child`",
        "pop_request push_request request_stack": "the running call is kept in a context variable",
        "resultrepr_maxsize": "may be set, without effect: what logs show has a length that is fixed",
        "shared": "may be set, without effect: `@shared_task` makes tasks for every app, `@app.task` for one",
    },
)

CALL = Section(
    "Calls",
    "Options of `apply_async` and `send_task`.",
    same=(
        "add_to_parent args compression countdown eta exchange expires headers ignore_result kwargs parent_id queue "
        "root_id routing_key serializer shadow task_id"
    ),
    differs={
        "delivery_mode": "without effect: messages are always kept",
        "exchange_type": "without effect: queues are declared in `task_queues`",
        "link link_error": "what is sent is published with the settlement of the run; no chain, group or chord yet",
        "priority": "9 is first on Redis too, unless `mixed_fleet`",
        "retry retry_policy": "without effect: how long sending is tried is said by `task_publish_timeout`",
        "soft_time_limit time_limit": "a soft one above the hard one raises `WrongLimits`, a `ValueError`",
    },
    later={
        "chain chord group_id group_index replaced_task_nesting stamped_headers": _CANVAS,
    },
    absent={
        "body content_encoding content_type expiration immediate mandatory": "the message is made from the call alone",
        "confirm_timeout timeout": "how long sending may take is said by `task_publish_timeout`",
        "connection producer publisher": "each thread that sends has a connection of its own; `None` may be "
        "handed on",
        "declare": "queues are declared in `task_queues`",
        "reply_to": "results are stored, not sent",
        "result_cls route_name router task_type": _INTERNAL,
        "retries": "of `apply()` only",
    },
)

REQUEST = Section(
    "The running call",
    "What `self.request` has. Headers of one's own are attributes of it too, as in Celery.",
    same=(
        "args called_directly callbacks children correlation_id delivery_info errbacks eta expires get group "
        "group_index headers hostname id ignore_result is_eager kwargs origin parent_id reply_to retries root_id "
        "shadow soft_time_limit time_limit timelimit"
    ),
    differs={"chain chord": "always `None`: a message that carries one is not run"},
    later={
        "replaced_task_nesting stamped_headers stamps taskset": _CANVAS,
    },
    absent={
        "as_execution_options clear update": _INTERNAL,
        "logfile loglevel": "logging is the process's, not the task's",
        "properties": "those of use have attributes of their own: `correlation_id`, `reply_to`, `delivery_info`",
        "utc": "times always have a zone",
    },
)

APP = Section(
    "The app",
    "Methods and attributes of `Celery`, and the parameters of its class.",
    same=(
        "AsyncResult ResultSet add_periodic_task autodiscover_tasks close conf config_from_object current_task "
        "current_worker_task finalize main register_task set_as_current signature task tasks"
    ),
    differs={
        "set_current set_default": "the same: there is one current app in a process",
        "Task task_cls": "is the class of tasks that are defined afterwards",
        "GroupResult": "is a method; `restore` comes with chains, groups and chords",
        "backend broker include": "as parameters; a setting under any of its names may be a parameter too",
        "on_after_configure on_after_finalize": "are both sent when a worker or beat has loaded the tasks",
        "clock": "is what tells the time; there is no logical clock",
        "control": "has `revoke`, `terminate`, `pool_grow` and `pool_shrink`, which wait for no answer; the rest "
        "comes later",
        "send_task": "checks the arguments of a task that is registered; tells of a name that looks misspelt",
    },
    later={
        "events events_cls": _EVENTS,
    },
    absent={
        "IS_WINDOWS IS_macOS SYSTEM": "ask `platform`",
        "control_cls": _PARTS,
        "Beat Pickler WorkController Worker amqp amqp_cls annotations backend_cls builtin_fixups changes configured "
        "create_task_cls either fixups loader loader_cls log_cls oid pool prepare_config registry_cls "
        "steps subclass_with_self thread_oid type_checker use_fast_trace_task user_options": _PARTS,
        "add_defaults config_source config_source_silent": "pass settings to the class, or call `config_from_object`",
        "autofinalize finalized namespace on_after_fork on_configure "
        "on_init": "an app is ready when it is made, and reads its settings when they are first asked for",
        "broker_connection connection connection_for_read connection_for_write connection_or_acquire "
        "default_connection default_producer producer_or_acquire producer_pool": "`app.broker` has its own connections",
        "bugreport": "`celeriac report`",
        "config_from_cmdline config_from_envvar": "`config_from_object` takes a dotted name",
        "gen_task_name": "a task's name is module and function unless `name` says another",
        "log": "`celeriac.log`",
        "now timezone uses_utc_timezone": "`app.conf.timezone`; times are aware",
        "select_queues": "`celeriac worker -Q`",
        "setup_security": "messages are not signed with certificates",
        "start worker_main": "`celeriac worker`, or `celeriac.testing.worker` in a thread",
        "strict_typing": "`typing=False` in a class for all tasks, as `task_cls`",
    },
)

#: Parameters of the class that are no attributes here.
APP_PARAMETERS_ONLY = {"backend": "the store is `app.store`", "include": "`app.conf.include`"}

RESULT = Section(
    "Results",
    "What `AsyncResult` and `EagerResult` have.",
    same=(
        "app as_list as_tuple collect date_done exists failed forget get_leaf id ignored info iterdeps maybe_reraise "
        "maybe_throw name parent queue ready result retries state status successful task_id throw traceback wait worker"
    ),
    differs={
        "args kwargs": "text, shortened; stored without `result_extended` too",
        "build_graph graph": "a dict: each result and those that it has sent",
        "children": "of a task that has sent very many the first 1,000",
        "get": "also refuses to wait for what is only sent by a commit to come; `on_interval` is called again and "
        "again, `on_message` on every store, `callback` at every call",
        "revoke": "holds for workers that start later, too, and is there when it returns: `wait` and `timeout` change "
        "nothing",
        "then": "calls `on_error` with the exception of a task that has failed, and returns None",
    },
    later={
        "revoke_by_stamped_headers": _CONTROL,
    },
    absent={
        "TimeoutError": "`celeriac.errors.TaskTimeout`, which is Python's `TimeoutError` as well",
        "backend": "the store is `app.store`",
        "supports_native_join": _INTERNAL,
    },
)

RESULT_SETS = Section(
    "Sets of results",
    "What `ResultSet` and `GroupResult` have.",
    same=(
        "add app as_tuple children clear completed_count discard failed forget id iter_native maybe_reraise "
        "maybe_throw parent ready remove results successful update waiting"
    ),
    differs={
        "get join join_native": "the first failure that is seen is raised; with `callback` an empty list is returned",
        "revoke": "as of single results",
        "then": "is called on every store, `on_error` with the exception of a task that has failed",
    },
    later={
        "delete restore save": _CANVAS,
    },
    absent={
        "backend": "the store is `app.store`",
        "supports_native_join": _INTERNAL,
    },
)

SCHEDULES = Section(
    "Schedules",
    "Of `celery.schedules`, here `celeriac.schedules`. [Run tasks regularly](../how-to/schedules.md) shows them; each "
    "takes a `timezone` of its own besides.",
    same=(
        "BaseSchedule ParseException app from_string human_seconds is_due maybe_schedule now relative "
        "remaining_estimate schedstate seconds solar tz"
    ),
    differs={
        "crontab crontab_parser": "a part that cannot be read to its end is refused, and so is a name in another field "
        "than its own; where clocks are put forward, a skipped time is due at once, not an hour late, and where they "
        "are put back, what is due in every hour is so in the one that comes twice",
        "schedule": "an interval of nothing is refused; `relative` counts when two are compared",
    },
    absent={
        "max_search_days maybe_make_aware remaining_delta to_local utc_enabled": _INTERNAL,
    },
)

SIGNALS = Section(
    "Signals",
    "[Do something around each task and worker](../how-to/signals.md) has their arguments.",
    same=(
        "after_setup_logger after_setup_task_logger celeryd_after_setup celeryd_init heartbeat_sent import_modules "
        "setup_logging task_failure task_internal_error task_postrun task_prerun task_rejected "
        "task_retry task_revoked task_success task_unknown worker_before_create_process worker_init worker_ready "
        "worker_shutting_down"
    ),
    differs={
        "after_task_publish": "comes when the broker has it, so after a commit where there is one",
        "before_task_publish": "only headers of one's own can be set",
        "beat_init beat_embedded_init": "the sender is a `Beat`, which has `entries`",
        "user_preload_options": "may be connected, and is not sent yet",
        "task_received": "is sent in the process that runs the task",
        "worker_process_init worker_process_shutdown": "also for the `threads` pool, which has a process of its own",
        "worker_shutdown": "also after a stop by force, except in the `solo` pool",
    },
    absent={
        "eventlet_pool_apply eventlet_pool_postshutdown eventlet_pool_preshutdown eventlet_pool_started": (
            "there is no such pool"
        ),
        "task_sent": "an old name of `after_task_publish`",
    },
)

EXCEPTIONS = Section(
    "Exceptions",
    "Of `celery.exceptions`, here `celeriac.errors`. [Errors](errors.md) has the whole tree.",
    same=(
        "Ignore ImproperlyConfigured IncompleteStream MaxRetriesExceededError NotRegistered QueueNotFound Reject Retry "
        "SoftTimeLimitExceeded TaskError TaskPredicate TaskRevokedError TimeLimitExceeded WorkerLostError"
    ),
    later={
        "ChordError": _CANVAS,
        "Terminated": _CONTROL,
    },
    absent={
        "AlreadyRegistered": "a second task of a name is told by a warning, and the first stays",
        "AlwaysEagerIgnored": "`celeriac.app.AlwaysEagerIgnored`",
        "BackendError BackendGetMetaError BackendStoreError": "`StoreError`",
        "CDeprecationWarning CPendingDeprecationWarning CeleryWarning DuplicateNodenameWarning FixupWarning "
        "NotConfigured SecurityWarning": "what there is to tell is logged when a worker starts",
        "CeleryCommandException": "`click.ClickException`",
        "CeleryError": "`CeleriacError`",
        "DuplicateTaskNameWarning": "`celeriac.naming.DuplicateTaskNameWarning`",
        "reraise": _INTERNAL,
        "InvalidTaskError": "`MessageError`",
        "OperationalError": "`BrokerDown`",
        "SecurityError": "messages are not signed with certificates",
        "TimeoutError": "`TaskTimeout`, which is Python's `TimeoutError` as well",
        "WorkerShutdown WorkerTerminate": "stop a worker by a signal of the system",
    },
)

FIXTURES = Section(
    "Fixtures of pytest",
    "[Test code that uses tasks](../how-to/testing.md) has better ones besides.",
    same=(
        "celery_app celery_class_tasks celery_config celery_includes celery_parameters celery_session_app "
        "celery_session_worker celery_worker depends_on_current_app use_celery_app_trap"
    ),
    differs={
        "celery_enable_logging celery_worker_pool": "may be overridden, without effect",
        "celery_worker_parameters": "`queues` and `shutdown_timeout` count",
    },
)

#: What differs in a setting that both have. Those of another default are all here.
SETTINGS_DIFFER = {
    "broker_connection_timeout": "2 seconds, not 4",
    "broker_url": "unset: Django's database",
    "result_backend": "unset: Django's database",
    "result_expires": "7 days, not 1",
    "result_extended": "without effect: name, arguments, queue and worker are always stored",
    "result_compression": "of results on Redis and in a cache",
    "task_acks_late": "unset and True: settled after the run; only False settles it before",
    "task_always_eager": "the value is what would be read from the store, JSON",
    "task_annotations": "an option that there is not raises UnknownOption; what is put around `@run` leaves a "
    "decorator of the project's own where it is",
    "task_default_priority": "a route's priority counts more",
    "task_eager_propagates": "a task that retries runs to its end, whose error is raised",
    "task_acks_on_failure": "False: the message becomes a dead letter",
    "task_acks_on_timeout": "False: the task runs again, task_max_deliveries times at most",
    "task_reject_on_worker_lost": "unset is True, task_max_deliveries times at most; only False makes the task fail",
    "worker_hijack_root_logger": "off unless asked for",
    "worker_log_format": "a format of our own unless one is given",
    "worker_pool": "prefork, threads or solo",
    "worker_prefetch_multiplier": "unset: about 50 ms of work",
    "worker_redirect_stdouts": "off unless asked for",
    "worker_soft_shutdown_timeout": "0 waits without limit for running tasks",
    "worker_task_log_format": "a format of our own unless one is given",
}

#: Settings that differ by their default alone: where one is given it is the same.
SETTINGS_OF_OTHER_DEFAULT = frozenset(
    "broker_connection_timeout broker_url result_backend result_expires worker_hijack_root_logger worker_log_format "
    "worker_prefetch_multiplier worker_redirect_stdouts worker_task_log_format".split()
)

#: Settings without effect that somebody has set because it matters: they need another way, or are missed.
SETTINGS_TO_DECIDE = frozenset(
    "broker_read_url broker_use_ssl broker_write_url database_url redis_backend_use_ssl security_cert_store "
    "security_certificate security_key task_cls task_default_rate_limit task_send_sent_event worker_direct "
    "worker_send_task_events".split()
)

#: Settings that Celery does not have.
OWN_SETTINGS = frozenset(
    "result_exceptions task_dead_letter_expires task_max_deliveries task_outbox task_publish_on_commit "
    "task_publish_timeout task_signing task_signing_keys task_signing_optional_until "
    "task_revoke_expires worker_async_concurrency worker_flower_metrics worker_health_host worker_health_port "
    "worker_lease worker_max_message_bytes worker_state_dir".split()
)

FLAGS_SAME = (
    "-A/--app -b/--broker --result-backend --workdir -C/--no-color -q/--quiet --version -n/--hostname -l/--loglevel "
    "--prefetch-multiplier -c/--concurrency --purge/--discard -Q/--queues -X/--exclude-queues -I/--include "
    "-f/--logfile -B/--beat --soft-time-limit --time-limit --max-tasks-per-child --max-memory-per-child "
    "--autoscale"
)
FLAGS_DIFFER = {
    "-P/--pool": "prefork, threads or solo",
    "--skip-checks": "accepted, without effect: what the worker checks, it needs",
}
FLAGS_ABSENT = {
    "--config": "`-A` names the app, which knows its settings",
    "--loader": _PARTS,
}

COMMANDS_OF_CELERY = frozenset(
    "amqp beat call control events graph inspect list logtool migrate multi purge report result shell status upgrade "
    "worker".split()
)
