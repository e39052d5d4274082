"""The admin section "Celeriac": tasks and their results, what waits, and what was set aside.

Imported by `django.contrib.admin` when it looks for admin modules; a project without it never gets here.
"""

from django.contrib import admin

from celeriac.django.admin.dead_letters import DeadLetterAdmin
from celeriac.django.admin.messages import MessageAdmin
from celeriac.django.admin.results import TaskResultAdmin
from celeriac.django.models import DeadLetter, Message, TaskResult

admin.site.register(TaskResult, TaskResultAdmin)
admin.site.register(Message, MessageAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
