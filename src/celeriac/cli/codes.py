"""The long form of the numbered errors: what happened, why, what to do, an example.

Read by `celeriac help E109`; a test compares the numbers with those of `celeriac.errors`. A chapter's text is
reflowed; its example is printed as it stands.
"""

from msgspec import Struct


class Chapter(Struct):
    """One numbered error."""

    title: str
    what: str
    why: str
    do: str
    example: str = ""


CODES: dict[str, Chapter] = {
    "E101": Chapter(
        "No worker is running",
        "A task was sent or is waited for, and no worker is there that could run it. The task is queued and waits. "
        "With DEBUG on it is told when a task is sent; elsewhere when get() has waited for half a second. Both once a "
        "minute at most.",
        "Tasks run in processes of their own, which have to be started. Nothing is said where it cannot be known: on "
        "Redis while there are signs of a worker of Celery's, which may read the same queue.",
        "Start a worker. In development one command starts it beside the web server.",
        """
python manage.py celeriac dev      # web server and worker
celeriac worker                    # a worker alone
""",
    ),
    "E102": Chapter(
        "A Django model as an argument",
        "delay() or apply_async() was given a model instance. Nothing was sent.",
        "A message holds data, not objects: it may wait for minutes and run in another process, where the"
        " row may have changed meanwhile. An instance on the queue would be an old copy that a save() "
        "writes over newer values.",
        "Pass the primary key and read the row in the task.",
        """
@shared_task
def send_receipt(order_pk):
    order = Order.objects.get(pk=order_pk)
    ...

send_receipt.delay(order.pk)
""",
    ),
    "E103": Chapter(
        "An argument or a result that cannot be serialised",
        "A value cannot be written down as the message's or the result's format (JSON unless set "
        "otherwise). A call was not sent; a task that returned the value has run to its end and is marked"
        " as failed.",
        "Messages are text. These types travel: None, bool, int, float, str, list, dict, tuple, datetime,"
        " date, time, Decimal, UUID, bytes, Enum, dataclass. Sets, functions, requests, open "
        "files and query sets do not.",
        "Pass what the task needs to get hold of the thing: a key, a path, a name, a list. For results: "
        "return data, or set ignore_result=True if nobody reads them.",
        """
pack.delay(sorted(items))                              # not a set
resize.delay(picture.file.name)                        # not an open file
report.delay(list(orders.values_list("pk", flat=True)))  # not a QuerySet
""",
    ),
    "E104": Chapter(
        "Arguments that do not fit the task",
        "The call was refused where it was made, as calling the function itself would have been. Nothing "
        "was sent.",
        "The arguments of delay(), or args and kwargs of apply_async(), are bound to the function's "
        "parameters before they are sent. The first parameter of a bound task (bind=True), self, is not "
        "counted.",
        "Pass what the text says is missing, or leave out what is too much. typing=False on the task "
        "turns the check off.",
        """
@shared_task
def add(x, y): ...

add.delay(1)                      # E104: y is missing
add.delay(1, 2)
add.apply_async(args=[1, 2])      # a list, also for one argument: args=[1]
""",
    ),
    "E105": Chapter(
        "A task name that is not known",
        "send_task() was given a name that no task of the sending process has, but that is close to one's: this is "
        "told once, and the message is sent. What a worker does that does not know the name: celeriac help E106.",
        "The module of the task was not imported here, or the name is misspelt. send_task() is for tasks of other "
        "projects as well, so it sends any name.",
        "A task's name is its module and function (shop.tasks.add) unless name= says otherwise. See that "
        "its module is imported: tasks.py of an app in INSTALLED_APPS, one that the URLs lead to, or one that "
        "CELERY_IMPORTS names.",
        """
CELERY_IMPORTS = ["shop.jobs"]

current_app().send_task("shop.tasks.sned_receipt", [7])   # E105: did you mean "shop.tasks.send_receipt"?
send_receipt.delay(7)                                     # a name that Python checks
""",
    ),
    "E106": Chapter(
        "A worker got a task that it does not know",
        "None of the worker's tasks has the name that a message carries. The task's state is FAILURE, with "
        "NotRegistered, and its message is kept as a dead letter.",
        "The code that sent it is newer than the worker (the text says since when it runs), the task was renamed or "
        "removed while calls waited, its module is not imported by the worker, or it belongs to another project that "
        "uses the same queue.",
        "Start the worker again: one that knows the name puts such dead letters of its queues back when it starts, and "
        "they run as if nothing had happened. Let a renamed task keep its old name, name=, or keep the old function "
        "until no call waits any more. `celeriac deadletter` and the Django admin list what was set aside.",
        """
celeriac deadletter list --reason "unknown task"
celeriac deadletter discard --task shop.tasks.gone

@shared_task(name="shop.tasks.send_bill")     # as it was called when the calls were sent
def send_invoice(order_pk): ...
""",
    ),
    "E107": Chapter(
        "A queue that no worker reads",
        "A task was sent to a queue, or is waited for there, and workers are running, but none of them reads that "
        "queue. It is told when E101 would be.",
        "A worker reads the queues that -Q names, else those of task_queues, else the default one. The queue's name "
        "comes from the call, from the task, or from task_routes; it may be misspelt there.",
        "Start a worker that reads it, or correct the name. Queues are made by sending to them: "
        "task_create_missing_queues = False refuses those that task_queues does not declare.",
        """
celeriac worker -Q celery,mails
""",
    ),
    "E108": Chapter(
        "An option that there is not",
        "apply_async() or @task was given a keyword that it does not have. Nothing was sent.",
        "A misspelt option would otherwise be without effect, silently: a task that was to wait for an "
        "hour would run at once. Options of Celery's that this release does not honour are refused in "
        "calls, and told when a worker starts where they are on a task.",
        "Correct the name. The task's own arguments go into args and kwargs.",
        """
add.apply_async((1, 2), que="mails")        # E108: did you mean "queue"?
add.apply_async((1, 2), queue="mails", countdown=60)
""",
    ),
    "E109": Chapter(
        "The broker cannot be reached",
        "Within task_publish_timeout (2 s) the message could not be handed over. The text says whether "
        "the task certainly was not queued, or may have been, as the connection broke after it was sent "
        "(`error.maybe_queued`).",
        "The server is down, refuses connections, or does not answer at the address that the text names.",
        "Start the server, or correct CELERY_BROKER_URL; `celeriac settings` shows where the value comes "
        "from. A Django project needs no server: without a broker URL its database is the broker.",
        """
redis-cli -u redis://localhost:6379/0 ping
docker run -p 6379:6379 redis

try:
    send_receipt.delay(order.pk)
except BrokerDown as error:
    ...   # error.maybe_queued
""",
    ),
    "E110": Chapter(
        "A broker or result store that there is not",
        "broker_url or result_backend begins with a scheme that no broker or store answers to.",
        "The part before :// chooses it. The text lists what there is; packages can bring more through "
        "the entry points celeriac.brokers and celeriac.stores.",
        "Correct the scheme.",
        """
CELERY_BROKER_URL = "redis://localhost:6379/0"
CELERY_RESULT_BACKEND = "django-db"
""",
    ),
    "E111": Chapter(
        "A misspelt setting",
        "A setting's name is unknown and close to that of one that exists. A worker does not start.",
        "Unknown settings have no effect: with CELERY_BROKER_ULR the tasks would go to another place than"
        " was meant. Names that are close to nothing are only told.",
        "Correct the name. `celeriac settings` lists all of them, with their values and where these come "
        "from.",
        """
CELERY_BROKER_URL = "redis://localhost:6379/0"    # not CELERY_BROKER_ULR
""",
    ),
    "E112": Chapter(
        "Not installed, or not migrated",
        "celeriac.django is not in INSTALLED_APPS, its tables are missing from the database, or a package"
        " is missing that the broker or store needs.",
        "Messages and results lie in tables of their own, which migrations make. Servers need their "
        "client's package, which the extras bring.",
        "Do what the text says.",
        """
INSTALLED_APPS = [..., "celeriac.django"]

python manage.py migrate
pip install 'celeriac[redis]'
""",
    ),
    "E113": Chapter(
        "No tasks found",
        "A worker was started and has no task that it could run. It does not start; `celeriac dev` waits for one.",
        "Tasks are found in tasks.py of each app in INSTALLED_APPS, in the modules that CELERY_IMPORTS names, and "
        "in those that the URLs lead to; without Django in the modules that the app's imports name. Other "
        "modules are not imported.",
        "Write a task, move it to tasks.py, or name its module.",
        """
# shop/tasks.py
from celeriac import shared_task

@shared_task
def send_receipt(order_pk): ...
""",
    ),
    "E114": Chapter(
        "A tasks module that does not import",
        "A module with tasks, or with the app, raised an exception while it was imported. A worker does "
        "not start; under --reload and dev it waits for the next save.",
        "The text names the line in the project and the exception. Without the module its tasks could not"
        " be run, and their messages would become dead letters.",
        "Mend the line. The whole traceback: python -c 'import shop.tasks', or manage.py shell.",
        """
shop/tasks.py, line 1: import notthere → ModuleNotFoundError: No module named 'notthere'.
""",
    ),
    "E115": Chapter(
        "A row that was not there yet",
        "A task did not find a row, seconds after it was sent. Probably it was sent inside a transaction and a worker "
        "was quicker than the commit. The hint stands under the traceback.",
        "With task_publish_on_commit = False a task is published where it is sent, inside atomic() too. Other "
        "processes do not see the transaction's rows before it is committed, and never if it is rolled back.",
        "Leave task_publish_on_commit on, or send such tasks with delay_on_commit().",
        """
with transaction.atomic():
    order = Order.objects.create()
    send_receipt.delay_on_commit(order.pk)
""",
    ),
    "E116": Chapter(
        "Nothing is known of this task",
        "get() has waited for the whole time that it was given, and nothing is stored under the task's id: neither a "
        "result nor that it has begun. Its state is PENDING, as in Celery for any id.",
        "The id is misspelt or of another project, the result was deleted after result_expires or by forget(), it was "
        "not stored (ignore_result), or the task has simply not ended yet: waiting tasks have no entry.",
        "Compare the id with the one that delay() returned, and broker and result store with the sender's: "
        "`celeriac settings` shows both. task_track_started = True stores that a task has begun.",
        """
result = send_receipt.delay(7)
result.id                          # keep this, as text
AsyncResult(result.id).get(timeout=10)
""",
    ),
    "E117": Chapter(
        "Waiting for a task inside a task",
        "AsyncResult.get() was called in a running task.",
        "A task that waits keeps its process busy. When as many wait as there are processes, what they "
        "wait for never starts: nothing moves any more.",
        "Let the first task start the second one, and pass on what it found. Or call the function "
        "directly, if it may run here and now.",
        """
@shared_task
def prepare(order_pk):
    data = collect(order_pk)
    send.delay(order_pk, data)      # instead of send.delay(...).get()

total = add(1, 2)                   # a task is still a function
""",
    ),
    "E118": Chapter(
        "A result that cannot be stored",
        "A task ran to its end and returned something that JSON cannot hold. What it did is done; its state is "
        "FAILURE, so that nobody waits for a value that will never be there. It is not run again.",
        "Results are kept as JSON, where any process can read them, unless result_serializer names another format. The "
        "types that travel are those of arguments: see celeriac help E103.",
        "Return data, a key for instance, or set ignore_result=True if nobody reads the result.",
        """
@shared_task(ignore_result=True)
def warm_cache(url):
    return requests.get(url)        # a response, which nobody reads
""",
    ),
    "E119": Chapter(
        "A function that cannot be a task",
        "@app.task or @shared_task was put on a function that would not run as it is written. The module is not "
        "imported.",
        "A first parameter self without bind=True would be filled by the caller's first argument. The body of a "
        "generator does not run until somebody iterates, which nobody would. A task made into a task again would "
        "have two names.",
        "Write bind=True, or take self out; return a list; apply the decorator once.",
        """
@shared_task(bind=True)
def send_invoice(self, order_pk): ...

@shared_task
def numbers():
    return [n for n in range(3)]    # not: yield n
""",
    ),
    "E120": Chapter(
        "The process that ran a task died",
        "A worker's process ended while it ran the task: by a signal, by os._exit(), or with its whole worker. The "
        "text says how, after how long, and how often that has happened to this call. It runs again until it has "
        "happened task_max_deliveries times; then it is a dead letter, and its state is FAILURE with WorkerLostError.",
        "Signal 9 (SIGKILL) that nobody sent is as a rule the kernel or the container running out of memory; signal 11 "
        "(SIGSEGV) is a fault in an extension module. Tasks that only ran beside the one at fault are not set aside: a "
        "call that was hit twice runs alone the third time.",
        "Look into the kernel's log (dmesg) or the container's events for the memory. Work in smaller batches, give "
        "the worker more memory or fewer processes (-c). `celeriac deadletter retry` runs a dead letter again.",
        """
CELERY_TASK_MAX_DELIVERIES = 3

for rows in batched(queryset.iterator(), 1000):   # instead of list(queryset)
    export_rows.delay([row.pk for row in rows])
""",
    ),
    "E121": Chapter(
        "A time without a time zone",
        "eta or expires is a datetime, or text, that names no time zone. It is taken in the project's: TIME_ZONE in "
        "Django, else the setting timezone. Told once for each place that does it.",
        "datetime.now() and datetime.utcnow() look alike and differ by hours. Under the first the task comes at the "
        "right time only where the machine's zone is the project's, under the second only where that is UTC.",
        "Pass a time with a zone, or how many seconds to wait.",
        """
from django.utils import timezone

remind.apply_async((user_pk,), eta=timezone.now() + timedelta(hours=1))
remind.apply_async((user_pk,), countdown=3600)
""",
    ),
    "E122": Chapter(
        "The code has changed since the worker started",
        "A file that defines tasks was written after this worker had loaded it. Looked at every minute, told once, by "
        "every pool but solo.",
        "A worker loads the project's code when it starts, as every process does. Until it is restarted it runs what "
        "it has: old code on new calls, and it sets tasks aside that it does not know.",
        "Restart workers as the last step of a deployment; a warm stop finishes what runs and loses nothing. While you "
        "develop, let them restart by themselves.",
        """
systemctl restart celeriac-worker   # or what starts it at your place
celeriac worker --reload
python manage.py celeriac dev       # reloads anyway
""",
    ),
    "E123": Chapter(
        "No app found",
        "-A names a module or attribute that is not there, or there is neither -A nor a Django project.",
        "-A takes a module (its attributes app and celery, then MODULE.celery, are looked at) or "
        "module:attribute, seen from this directory. Without it, DJANGO_SETTINGS_MODULE or a manage.py "
        "here or above leads to the project.",
        "Go to the project's directory, or name the app. CELERY_APP, APP and CELERIAC_APP in the "
        "environment count as -A.",
        """
celeriac -A shop worker             # shop/celery.py with `app = Celeriac("shop")`
celeriac -A jobs:queue worker       # jobs.py with `queue = Celeriac("jobs")`
celeriac worker                     # beside manage.py
""",
    ),
    "E125": Chapter(
        "An option of a call with a wrong value",
        "An option of apply_async(), send_task() or send_many() has a value that it cannot have. Nothing was sent.",
        "A countdown that is text, or an eta that is no time, would become a message that every worker refuses, and "
        "nobody would see it here.",
        "Pass what the text asks for. countdown, expires and the time limits are seconds, eta is a datetime with a "
        "time zone, priority a whole number from 0 to 9.",
        """
remind.apply_async((user_pk,), countdown=3600)
remind.apply_async((user_pk,), eta=timezone.now() + timedelta(hours=1))
""",
    ),
    "E126": Chapter(
        "A message that is not signed by this project",
        "task_signing is on, and a message came without a signature, or with one that does not fit it. It was not run "
        "and is kept as a dead letter.",
        "It was sent by a process for which signing is off (or by Celery), or with a key that is not known here any "
        "more; it was moved to another queue by hand; or somebody writes to the broker who should not.",
        "Look at the dead letter: its origin is the process that says to have sent it. Turn signing on there, or put "
        "the old key into SECRET_KEY_FALLBACKS. While many senders are still to be changed over, set "
        "task_signing_optional_until. If you answer for what it does, have it signed as it goes back. If you "
        "do not know it, change the broker's password.",
        """
celeriac deadletter list --reason "sign"
celeriac deadletter show 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f
celeriac deadletter retry 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f --sign
""",
    ),
}
