"""The pages of the portal. Include them wherever the site has its pages."""

from django.urls import include, path

from ai_gateway.portal import playground, usage, views

app_name = "ai_gateway_portal"

urlpatterns = [
    path("", views.keys, name="keys"),
    path("new/", views.new, name="new"),
    path("keys/<str:public_id>/revoke/", views.revoke, name="revoke"),
    path("usage/", usage.usage, name="usage"),
    path("models/", views.models, name="models"),
    path("connect/", views.connect, name="connect"),
    path("playground/", include(playground.urlpatterns)),
]
