"""Addresses of the jobs; all of them are pages of the admin, for people who are logged in."""

from django.contrib import admin
from django.urls import path

from dualchannel_site.desk.jobs import actions, pages

_page = admin.site.admin_view

urlpatterns = [
    path("", _page(pages.jobs), name="jobs"),
    path("extraction/", _page(actions.start_extraction), name="start-extraction"),
    path("training/", _page(actions.plan_training), name="plan-training"),
    path("training/resume/", _page(actions.resume_config), name="resume-config"),
    path("night/", _page(actions.start_night), name="start-night"),
    path("<int:pk>/", _page(pages.job), name="job"),
    path("<int:pk>/progress/", pages.polled, name="job-progress"),
    path("<int:pk>/cancel/", _page(actions.cancel), name="job-cancel"),
    path("<int:pk>/train/", _page(actions.start_training), name="start-training"),
    path("<int:pk>/resume/", _page(actions.resume_training), name="resume-training"),
]
