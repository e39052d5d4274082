"""The shop for an ASGI server, with WebSockets where Channels is installed: `uvicorn shop.asgi:application`."""

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

# First of all: what is imported below needs Django to be set up.
application = ASGIStaticFilesHandler(get_asgi_application())

if settings.HAS_CHANNELS:
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator
    from store.consumers import websocket_urlpatterns

    application = ProtocolTypeRouter(
        {"http": application, "websocket": AllowedHostsOriginValidator(URLRouter(websocket_urlpatterns))}
    )
