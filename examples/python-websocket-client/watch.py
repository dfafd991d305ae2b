"""Watches a deployment over SignalR and prints what happens, one JSON object a line.

    HOTSWAP_URL=http://127.0.0.1:5000 HOTSWAP_TOKEN=... python watch.py <executionId>

With `--metrics <environment>` it prints the metrics of an environment, and with `--sources` the
sources of nodes and each change of one, until it is interrupted.

Exit codes: 0 succeeded, 1 error, 2 usage, 3 failed or rolled back, 130 interrupted.
"""

import asyncio
import json
import os
import random
import re
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from pysignalr.client import SignalRClient
from pysignalr.exceptions import AuthorizationError, ConnectionError as UnexpectedStatus, HubError
from pysignalr.messages import CompletionMessage, Message
from websockets.exceptions import WebSocketException

DEPLOYMENT_EVENTS = (
    "DeploymentStarted",
    "DeploymentStatusChanged",
    "DeploymentProgress",
    "NodeChanged",
    "ApprovalRequested",
    "DeploymentPromoted",
    "SoakProgress",
    "SoakJudged",
    "DeploymentDamaged",
    "EnvironmentChanged",
    "DeploymentCompleted",
    "DeploymentFailed",
)


@dataclass(frozen=True)
class Topic:
    """What to subscribe to: a method of a hub, its arguments, and the events that follow."""

    hub: str
    method: str
    arguments: tuple[str, ...]
    events: tuple[str, ...]
    # Whether a subscription can resume after the last event seen.
    can_resume: bool = False


def deployment(execution_id: str) -> Topic:
    """One deployment."""
    arguments = (execution_id,)
    return Topic("/hubs/deployments", "SubscribeToDeployment", arguments, DEPLOYMENT_EVENTS, True)


def metrics(environment: str) -> Topic:
    """The metrics of an environment."""
    return Topic("/hubs/metrics", "SubscribeToMetrics", (environment,), ("MetricsUpdated",))


def sources() -> Topic:
    """The registries that know of nodes: their state now, and after each change."""
    return Topic("/hubs/metrics", "SubscribeToSources", (), ("SourceChanged",))


# A snapshot contains the log of the deployment, and can exceed pysignalr's limit of 1 MiB.
LARGEST_MESSAGE = 16 << 20
# pysignalr has no time-out for the answers that it waits for while it connects.
CONNECT_SECONDS = 15.0


class ConnectionLost(Exception):
    """The connection was lost."""


class Rejected(Exception):
    """The engine rejected the request. A retry would fail again."""


class Watch:
    """A subscription that survives lost connections."""

    def __init__(self, url: str, token: str, topic: Topic) -> None:
        self.hub = url.rstrip("/") + topic.hub
        self.token = token
        self.topic = topic
        # The last event seen. Opaque: send it back, never compare it.
        self.position: dict[str, str] | None = None
        self.connected = False
        self.was_subscribed = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Watches a deployment to its end. Returns the exit code: 0 succeeded, 3 otherwise. Other
        topics have no end."""
        follow = asyncio.create_task(self.follow())
        # `follow` ends by itself only with an error, which `run` then raises.
        follow.add_done_callback(self.on_follow_ended)
        try:
            return await self.ended
        finally:
            follow.cancel()
            await asyncio.wait({follow})

    def on_follow_ended(self, follow: asyncio.Task[None]) -> None:
        """Passes the error that ended `follow` on to `run`."""
        error = None if follow.cancelled() else follow.exception()
        if error and not self.ended.done():
            self.ended.set_exception(error)

    async def follow(self) -> None:
        """Connects, and reconnects until the engine rejects the client."""
        attempts = 0
        while True:
            self.connected = False
            try:
                await self.connect()
            except (AuthorizationError, UnexpectedStatus) as error:
                status = error.status if isinstance(error, UnexpectedStatus) else 401
                reason = f"the engine answered with status {status}"
                # A wrong token or address stays wrong. But if it worked before, the error
                # may pass.
                if not self.was_subscribed and status in (401, 403, 404):
                    raise Rejected(reason) from error
            except (
                OSError,
                HubError,
                ConnectionLost,
                aiohttp.ClientError,
                WebSocketException,
            ) as error:
                reason = str(error) or type(error).__name__
            attempts = 0 if self.connected else attempts + 1
            # Random delays, so that not all watchers reconnect to a restarted engine at once.
            delay = random.uniform(0, 0.25 * 2 ** min(attempts, 4))
            print(f"reconnecting: {reason}", file=sys.stderr)
            await asyncio.sleep(delay)

    async def connect(self) -> None:
        """Connects once, and returns or raises when the connection is lost."""
        # A new client each time: pysignalr reconnects with the id of the lost connection,
        # which the server no longer knows. The token is a header because pysignalr calls
        # `access_token_factory` only after the socket is open.
        client = SignalRClient(
            self.hub,
            headers={"Authorization": f"Bearer {self.token}"},
            max_size=LARGEST_MESSAGE,
            retry_count=1,
        )
        deadline = asyncio.timeout(CONNECT_SECONDS)

        async def opened() -> None:
            deadline.reschedule(None)
            arguments: list[Any] = [*self.topic.arguments]
            if self.topic.can_resume:
                arguments.append(self.position)
            await client.send(self.topic.method, arguments, subscribed)

        async def subscribed(message: Message) -> None:
            assert isinstance(message, CompletionMessage)
            self.connected = self.was_subscribed = True
            self.handle("Subscribed", message.result)

        async def rejected(message: CompletionMessage) -> None:
            # An error without a reason is an internal error of the engine, and may pass.
            if message.error and message.error.endswith("on the server."):
                raise ConnectionLost(message.error)
            raise Rejected(message.error)

        async def closed() -> None:
            raise ConnectionLost("the connection was closed")

        client.on_open(opened)
        client.on_error(rejected)
        client.on_close(closed)
        for event in self.topic.events:
            client.on(event, partial(self.on_event, event))
        async with deadline:
            await client.run()

    async def on_event(self, event: str, arguments: list[Any]) -> None:
        """Handles an event. Every event has one argument."""
        self.handle(event, arguments[0])

    def handle(self, event: str, argument: Any) -> None:
        """Prints an event and saves its position. Ends `run` if it was the last event."""
        if self.ended.done():
            return
        print(json.dumps({"event": event, "argument": argument}), flush=True)
        if not self.topic.can_resume:
            return
        self.position = {"epoch": argument["epoch"], "offset": argument["offset"]}
        # If the deployment ended before the subscription, only the snapshot says so.
        status = argument.get("snapshot", {}).get("status")
        if event == "DeploymentCompleted" or status in ("succeeded", "partial"):
            self.ended.set_result(0)
        elif event == "DeploymentFailed" or status in ("failed", "rolledBack"):
            self.ended.set_result(3)


async def main() -> int:
    token = os.environ.get("HOTSWAP_TOKEN", "")
    match sys.argv[1:]:
        case ["--sources"]:
            topic = sources()
        case ["--metrics", environment]:
            topic = metrics(environment)
        case [execution_id] if not execution_id.startswith("-"):
            topic = deployment(execution_id)
        case _:
            topic = None
    # A token with other characters is no valid header, and the error would print it.
    if topic is None or not re.fullmatch("[!-~]+", token):
        print(__doc__, file=sys.stderr)
        return 2
    url = os.environ.get("HOTSWAP_URL", "http://127.0.0.1:5000")
    try:
        return await Watch(url, token, topic).run()
    except Rejected as rejection:
        print(rejection, file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
