"""Addresses of the desk, under /admin/: each part brings its own."""

from django.urls import include, path

app_name = "desk"
urlpatterns = [
    path("jobs/", include("dualchannel_site.desk.jobs.urls")),
    path("review/", include("dualchannel_site.desk.review.urls")),
]
