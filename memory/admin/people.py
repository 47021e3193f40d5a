"""People who work at the desk, with the desk's look."""

from __future__ import annotations

from axes.admin import AccessAttemptAdmin, AccessFailureLogAdmin, AccessLogAdmin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

admin.site.unregister([User, Group, AccessAttempt, AccessFailureLog, AccessLog])


@admin.register(User)
class PersonAdmin(UserAdmin, ModelAdmin):  # type: ignore[type-arg] # generic in the stubs alone
    """Who may log in, and what each may do."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    # The two columns with arrows between them are wider than the page, and name their parts to nobody.
    filter_horizontal = []


@admin.register(Group)
class PersonGroupAdmin(GroupAdmin, ModelAdmin):
    """Permissions that several people share."""

    filter_horizontal = []


@admin.register(AccessAttempt)
class LockoutAdmin(AccessAttemptAdmin, ModelAdmin):
    """Failed logins; deleting one lets that person try again at once."""


@admin.register(AccessFailureLog)
class FailedLoginAdmin(AccessFailureLogAdmin, ModelAdmin):
    """Every login that failed."""


@admin.register(AccessLog)
class LoginAdmin(AccessLogAdmin, ModelAdmin):
    """Every login that succeeded."""
