"""The same tasks on Celeriac: another import, and one option for a fleet that is mixed."""

import os

import following
import limited
import selling
from talking import set_up_talking
from told import listen

from celeriac import Celery, SoftTimeLimitExceeded, signals
from celeriac.log import get_task_logger

app = Celery("interop", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.broker_transport_options = {"mixed_fleet": True}
app.conf.task_publish_timeout = app.conf.broker_connection_timeout = 60.0  # a Redis that is slow is there
app.conf.accept_content = ["json", "msgpack", "yaml"]
app.conf.task_protocol = int(os.environ.get("PROTOCOL", "2"))
app.conf.result_serializer, _, packing = os.environ.get("RESULTS", "json").partition("+")
app.conf.result_compression = packing or None
listen(signals, app)
set_up_talking(signals, app)
add, fail, echo, flaky, headers, trace, talk = selling.define(app, "celeriac", get_task_logger)
following.define(app, "celeriac")
limited.define(app, "celeriac", SoftTimeLimitExceeded)
