"""The tasks as a Celery project has them."""

import os

import following
import limited
import selling
from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from talking import set_up_talking
from told import listen

app = Celery("interop", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1
app.conf.worker_proc_alive_timeout = 100  # on a busy machine its processes take long to start
app.conf.accept_content = ["json", "msgpack", "yaml"]
app.conf.task_protocol = int(os.environ.get("PROTOCOL", "2"))
app.conf.result_serializer, _, packing = os.environ.get("RESULTS", "json").partition("+")
app.conf.result_compression = packing or None
listen(signals, app)
set_up_talking(signals, app)
add, fail, echo, flaky, headers, trace, talk = selling.define(app, "celery", get_task_logger)
following.define(app, "celery")
limited.define(app, "celery", SoftTimeLimitExceeded)
