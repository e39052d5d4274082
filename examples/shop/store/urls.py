"""The shop's pages and their names."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-up/", views.sign_up, name="sign_up"),
    path("customers/<int:pk>/", views.customer, name="customer"),
    path("customers/<int:pk>/follow/", views.follow, name="follow"),
    path("products/<int:pk>/order/", views.order_form, name="order_form"),
    path("orders/", views.orders, name="orders"),
    path("orders/<int:pk>/", views.order, name="order"),
    path("exports/", views.export, name="export"),
    path("exports/<str:task_id>/", views.exported, name="exported"),
    path("tasks/<str:task_id>/events/", views.task_events, name="task_events"),
    path("upload/", views.upload, name="upload"),
    path("pictures/", views.pictures, name="pictures"),
    path("pictures/<int:pk>/", views.picture, name="picture"),
    path("outbox/", views.outbox, name="outbox"),
]
