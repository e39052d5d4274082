"""Celery's settings that are no rows of our table: why each has no effect here, and what old names mean.

Read by `celeriac.config`, which tells the reasons, and by the reference page. Whatever Celery documents stands
either in `config.Settings` or here, so that no setting of a project is without effect in silence.
"""


def _because(reasons: dict[str, str]) -> dict[str, str]:
    """Return the reason for each name; the names that share one stand in one line."""
    return {name: reason for names, reason in reasons.items() for name in names.split()}


#: Without effect in this release.
NOT_YET = _because(
    {
        "beat_enable_remote_control beat_remote_control_max_tick_age": "remote control comes later",
        "broker_use_ssl": "for TLS begin broker_url with rediss://, and put ssl_ca_certs and the like behind a ?",
        "redis_backend_use_ssl": (
            "for TLS begin result_backend with rediss://, and put ssl_ca_certs and the like behind a ?"
        ),
        "broker_pool_limit broker_pool_acquire_timeout": "each thread that sends has a connection of its own",
        "redis_backend_health_check_interval redis_max_connections redis_retry_on_timeout "
        "redis_socket_connect_timeout redis_socket_keepalive redis_socket_timeout result_backend_transport_options": (
            "the connections to the result store are looked after with broker_connection_timeout"
        ),
        "control_exchange control_queue_durable control_queue_exclusive control_queue_expires control_queue_ttl "
        "worker_enable_remote_control": "remote control comes later",
        "event_exchange event_queue_durable event_queue_exclusive event_queue_expires event_queue_prefix "
        "event_queue_ttl event_serializer task_send_sent_event worker_send_task_events": "events come later",
        "result_backend_always_retry result_backend_base_sleep_between_retries_ms result_backend_max_retries "
        "result_backend_max_sleep_between_retries_ms": (
            "a worker keeps the results that it cannot store and tries again until it can"
        ),
        "result_cache_max": "results are not cached in the process that asks for them",
        "result_failure_expires": "failures are kept as long as other results, see result_expires",
        "result_chord_expires result_chord_join_timeout result_chord_ordered result_chord_retry_interval "
        "task_allow_error_cb_on_chord_header": "chains, groups and chords come later",
        "task_cls": "pass a class to the app, Celeriac(task_cls=...), or set app.Task",
        "task_default_rate_limit worker_disable_rate_limits": "rate limits come later",
        "task_publish_retry task_publish_retry_policy": (
            "how long delay() tries is said by task_publish_timeout, in seconds"
        ),
        "task_queue_max_priority": "priorities go from 0 to 9 in every queue",
        "task_remote_tracebacks": "the worker's traceback is in AsyncResult.traceback",
        "task_repr_maxlevels": "arguments are shown to a depth and length that are fixed",
        "worker_eta_task_limit": "scheduled tasks wait in the broker, not in the worker's memory",
        "worker_enable_soft_shutdown_on_idle": "an idle worker stops at once",
        "worker_lost_wait": "the death of a process is noticed at once",
        "worker_pool_restarts": "restart the worker, or start it with --reload",
    }
)

#: Without meaning here.
MOOT = _because(
    {
        "beat_max_loop_interval": "beat wakes when something is due",
        "beat_schedule_filename beat_sync_every": "how far the schedule is, is kept at the broker",
        "beat_scheduler": "there is one, which reads the database's schedule too; `manage.py import_beat` fills it",
        "beat_logfile beat_pidfile worker_logfile worker_pidfile worker_umask": (
            "what starts the process decides about its files"
        ),
        "broker_channel_error_retry broker_connection_max_retries broker_connection_retry "
        "broker_connection_retry_on_startup": "a worker waits for its broker however long it is away",
        "broker_failover_strategy": "there is one broker",
        "broker_heartbeat broker_heartbeat_checkrate": "a connection that fell silent is noticed anyway",
        "broker_login_method broker_native_delayed_delivery_queue_type worker_detect_quorum_queues "
        "task_create_missing_queue_exchange_type task_create_missing_queue_type "
        "task_default_queue_type": "it is about queues of RabbitMQ",
        "broker_read_url broker_write_url": "one URL serves both, broker_url",
        "broker_transport": "broker_url begins with it",
        "task_default_delivery_mode result_persistent": "whatever is stored is kept",
        "loader worker_agent worker_autoscaler worker_consumer worker_timer worker_timer_precision": (
            "the worker is made of other parts"
        ),
        "result_exchange result_exchange_type": "results are not sent, they are stored",
        "security_cert_store security_certificate security_digest security_key security_key_password": (
            "messages are not signed with certificates"
        ),
        "worker_state_db": "the broker keeps which tasks were revoked",
        "worker_direct": "a worker reads the queues that -Q names, one of its own too",
        "worker_disable_prefetch worker_enable_prefetch_count_reduction": (
            "set worker_prefetch_multiplier = 1, and no child holds more than it runs"
        ),
        "worker_deduplicate_successful_tasks worker_cancel_long_running_tasks_on_connection_loss": (
            "a running task stays its worker's while the broker is away, and its outcome is stored once"
        ),
        "worker_pool_putlocks worker_pool_start_method worker_proc_alive_timeout": (
            "child processes are forked, and watched by their supervisor"
        ),
        "database_create_tables_at_setup database_engine_callback database_engine_options "
        "database_short_lived_sessions database_table_names database_table_schemas database_url": (
            "results in a database are kept through Django: result_backend = 'django-db'"
        ),
    }
)

#: How the names begin that Celery has for result backends which are not here.
OTHER_BACKENDS = (
    "arangodb_", "azureblockblob_", "cassandra_", "cosmosdbsql_", "couchbase_", "dynamodb_", "elasticsearch_", "gcs_",
    "mongodb_", "s3_",
)  # fmt: skip

#: Part of a URL here: leaving one out without a word would lead to another server.
IN_URL = {
    **dict.fromkeys(
        ("broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost"), "broker_url"
    ),
    **dict.fromkeys(("cache_backend", "cache_backend_options"), "result_backend"),
    **dict.fromkeys(
        ("redis_host", "redis_port", "redis_db", "redis_username", "redis_password"), "result_backend"
    ),
}

#: Old names that no rule leads from.
OLD_ODD = {
    "CELERYD_WORKER_LOST_WAIT": "worker_lost_wait",
    "CELERY_MAX_CACHED_RESULTS": "result_cache_max",
    "CELERY_RESULT_ENGINE_OPTIONS": "database_engine_options",
    "CELERY_RESULT_DBURI": "database_url",
    "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS": "database_short_lived_sessions",
    "CELERY_RESULT_DB_TABLENAMES": "database_table_names",
    "CELERY_SEND_EVENTS": "worker_send_task_events",
    "CELERY_SEND_TASK_SENT_EVENT": "task_send_sent_event",
}

#: Old beginnings, and what the new ones may be, in Celery's order.
OLD_BEGINNINGS = (
    ("CELERYD_", ("worker_", "")),
    ("CELERYBEAT_", ("beat_",)),
    ("CELERY_", ("", "task_", "worker_")),
    ("", ("",)),
)


def reason(name: str) -> str | None:
    """Return why a setting of Celery's has no effect, as half a sentence; None for one that is not listed."""
    if name in NOT_YET:
        return f"has no effect in this release of Celeriac: {NOT_YET[name]}"
    if name in MOOT:
        return f"has no meaning in Celeriac and can be removed: {MOOT[name]}"
    if name.startswith(OTHER_BACKENDS):
        return "has no meaning in Celeriac: there is no result store of that kind"
    return None
