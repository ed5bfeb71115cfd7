"""Pages for the people who use the gateway: their keys, the models that they may use, and how to connect.

    path("ai/", include("ai_gateway.portal.urls"))

Optional, and for everybody who can log in. A site that wants another look overrides `ai_gateway/portal/base.html`.
"""
