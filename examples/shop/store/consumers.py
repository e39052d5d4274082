"""The WebSocket that tells how far a task is. Imported by `shop.asgi`, and only where Channels is installed."""

import asyncio
import contextlib
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.urls import path

from .progress import changes


class TaskProgress(AsyncJsonWebsocketConsumer):
    """Sends each change, and closes when the task has ended."""

    async def connect(self) -> None:
        await self.accept()
        self._telling = asyncio.create_task(self._tell(self.scope["url_route"]["kwargs"]["task_id"]))

    async def disconnect(self, code: int) -> None:
        self._telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._telling

    async def receive_json(self, content: Any, **options: Any) -> None:
        """Take no notice of what the page sends: it has nothing to say."""

    async def _tell(self, task_id: str) -> None:
        async for progress in changes(task_id):
            if progress is not None:
                await self.send_json(progress)
        await self.close()


websocket_urlpatterns = [path("ws/tasks/<str:task_id>/", TaskProgress.as_asgi())]
