"""The admin section "Celeriac": tasks and their results, schedules, what waits, and what was set aside.

Imported by `django.contrib.admin` when it looks for admin modules; a project without it never gets here.
"""

from django.contrib import admin

from celeriac.django.admin.dead_letters import DeadLetterAdmin
from celeriac.django.admin.messages import MessageAdmin
from celeriac.django.admin.queues import QueueAdmin
from celeriac.django.admin.results import TaskResultAdmin
from celeriac.django.admin.schedules import ScheduleAdmin
from celeriac.django.models import DeadLetter, Message, Queue, Schedule, TaskResult

admin.site.register(TaskResult, TaskResultAdmin)
admin.site.register(Message, MessageAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(Schedule, ScheduleAdmin)
admin.site.register(Queue, QueueAdmin)
