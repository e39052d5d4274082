"""The end of an app of Celery 5.7's that a test has made."""

from celery import Celery
from kombu import pools


def close_celery(app: Celery) -> None:
    """Close it with all its connections.

    Its own `close` forgets them. They would stay open until they are collected, and whichever test that happens in
    would be told of an unclosed socket.
    """
    backend = app.backend
    if hasattr(backend, "client"):
        backend.result_consumer.stop()
        backend.client.connection_pool.disconnect()
    pools.reset()  # and forget them: kombu would hand a closed pool to the next app with the same URL
    app.close()
