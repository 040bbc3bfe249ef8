"""Where each view is."""

from django.urls import path

from .deals import views

urlpatterns = [
    path("customers/<str:customer>/deals", views.create_deal),
    path("webhooks/refold", views.receive),
]
