"""Addresses: the admin is the whole site."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    # Before the admin's own, which end in a page for whatever is left.
    path("admin/", include("dualchannel_site.desk.urls")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
handler400 = "dualchannel_site.desk.errors.bad_request"
handler403 = "dualchannel_site.desk.errors.permission_denied"
handler404 = "dualchannel_site.desk.errors.page_not_found"
