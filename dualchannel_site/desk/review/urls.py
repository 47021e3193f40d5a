"""Addresses of the review; all of them are pages of the admin, for people who are logged in."""

from django.contrib import admin
from django.urls import path

from dualchannel_site.desk.review import views
from dualchannel_site.desk.review.similar import similar

urlpatterns = [
    path("<str:channel>/", admin.site.admin_view(views.review), name="review"),
    path("<str:channel>/undo/", admin.site.admin_view(views.undo), name="undo"),
    path("<str:channel>/unskip/", admin.site.admin_view(views.unskip), name="unskip"),
    path("<str:channel>/<int:pk>/", admin.site.admin_view(views.review), name="review_pair"),
    path("<str:channel>/<int:pk>/decide/", admin.site.admin_view(views.decide_pair), name="decide"),
    path("<str:channel>/<int:pk>/similar/", admin.site.admin_view(similar), name="similar"),
]
