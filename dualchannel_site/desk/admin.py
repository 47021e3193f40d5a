"""What the desk changes about the admin of other packages."""

import django_tasks_db.admin  # noqa: F401 - registers first what is unregistered here
from django.contrib import admin
from django_tasks_db.models import DBTaskResult

# The queue's own rows say no more than that a job was handed to a worker; the jobs' pages say how it went.
admin.site.unregister(DBTaskResult)
