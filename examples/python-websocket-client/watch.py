"""Watches a deployment over SignalR and prints what happens, one JSON object a line.

    HOTSWAP_URL=http://127.0.0.1:5000 HOTSWAP_TOKEN=... python watch.py <executionId>

Exit codes: 0 succeeded, 1 error, 2 usage, 3 failed or rolled back, 130 interrupted.
"""

import asyncio
import json
import os
import random
import re
import sys
from functools import partial
from typing import Any

import aiohttp
from pysignalr.client import SignalRClient
from pysignalr.exceptions import AuthorizationError, ConnectionError as Unexpected, HubError
from pysignalr.messages import CompletionMessage, Message
from websockets.exceptions import WebSocketException

EVENTS = (
    "DeploymentStarted",
    "DeploymentStatusChanged",
    "DeploymentProgress",
    "NodeChanged",
    "ApprovalRequested",
    "DeploymentCompleted",
    "DeploymentFailed",
)

# A snapshot holds the log of the deployment: more than the 1 MiB that pysignalr takes.
LARGEST_MESSAGE = 16 << 20
# pysignalr bounds the steps of connecting, but not the wait for their answers.
CONNECT_SECONDS = 15.0


class Lost(Exception):
    """The connection is gone."""


class Refused(Exception):
    """What the engine refuses, another try does not change."""


class Watch:
    """One subscription to one deployment, kept through every cut of the connection."""

    def __init__(self, url: str, token: str, execution_id: str) -> None:
        self.hub = url.rstrip("/") + "/hubs/deployments"
        self.token = token
        self.execution_id = execution_id
        # Opaque: given back, never compared.
        self.position: dict[str, str] | None = None
        self.connected = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Follows the deployment to its end: 0 where it succeeded, 3 where it did not."""
        follow = asyncio.create_task(self.follow())
        # By itself it ends only with an error, which is then the answer.
        follow.add_done_callback(self.failed)
        try:
            return await self.ended
        finally:
            follow.cancel()
            await asyncio.wait({follow})

    def failed(self, follow: asyncio.Task[None]) -> None:
        """Takes over what ended the following."""
        error = None if follow.cancelled() else follow.exception()
        if error and not self.ended.done():
            self.ended.set_exception(error)

    async def follow(self) -> None:
        """Connects, and comes back until it is refused."""
        tries = 0
        while True:
            self.connected = False
            try:
                await self.connect()
            except (AuthorizationError, Unexpected) as error:
                status = error.status if isinstance(error, Unexpected) else 401
                reason = f"the engine answers {status}"
                # Neither the token nor the address gets better by waiting, unless they
                # have been good before.
                if self.position is None and status in (401, 403, 404):
                    raise Refused(reason) from error
            except (OSError, HubError, Lost, aiohttp.ClientError, WebSocketException) as error:
                reason = str(error) or type(error).__name__
            tries = 0 if self.connected else tries + 1
            # Random, or all watchers would come back to a restarted engine at once.
            wait = random.uniform(0, 0.25 * 2 ** min(tries, 4))
            print(f"reconnecting: {reason}", file=sys.stderr)
            await asyncio.sleep(wait)

    async def connect(self) -> None:
        """Connects once, and stays until the connection is lost."""
        # A new client each time: pysignalr reconnects with the id of the connection that
        # is gone, which no server knows any more. The token goes in as a header, as its
        # `access_token_factory` is asked only once the socket is open.
        client = SignalRClient(
            self.hub,
            headers={"Authorization": f"Bearer {self.token}"},
            max_size=LARGEST_MESSAGE,
            retry_count=1,
        )
        deadline = asyncio.timeout(CONNECT_SECONDS)

        async def opened() -> None:
            deadline.reschedule(None)
            arguments: list[Any] = [self.execution_id, self.position]
            await client.send("SubscribeToDeployment", arguments, subscribed)

        async def subscribed(message: Message) -> None:
            assert isinstance(message, CompletionMessage)
            self.connected = True
            self.seen("Subscribed", message.result)

        async def refused(message: CompletionMessage) -> None:
            # An error without a reason is the engine's own, and may pass.
            if message.error and message.error.endswith("on the server."):
                raise Lost(message.error)
            raise Refused(message.error)

        async def closed() -> None:
            raise Lost("the connection was closed")

        client.on_open(opened)
        client.on_error(refused)
        client.on_close(closed)
        for event in EVENTS:
            client.on(event, partial(self.heard, event))
        async with deadline:
            await client.run()

    async def heard(self, event: str, arguments: list[Any]) -> None:
        """Takes an event, which has one argument."""
        self.seen(event, arguments[0])

    def seen(self, event: str, argument: Any) -> None:
        """Prints an event, remembers where it stands, and whether it was the last."""
        if self.ended.done():
            return
        print(json.dumps({"event": event, "argument": argument}), flush=True)
        self.position = {"epoch": argument["epoch"], "offset": argument["offset"]}
        # It may have ended before we came: then the snapshot says so.
        status = argument.get("snapshot", {}).get("status")
        if event == "DeploymentCompleted" or status == "succeeded":
            self.ended.set_result(0)
        elif event == "DeploymentFailed" or status in ("failed", "rolledBack"):
            self.ended.set_result(3)


async def main() -> int:
    token = os.environ.get("HOTSWAP_TOKEN", "")
    # What cannot stand in a header would come back in the text of an error.
    if len(sys.argv) != 2 or not re.fullmatch("[!-~]+", token):
        print(__doc__, file=sys.stderr)
        return 2
    url = os.environ.get("HOTSWAP_URL", "http://127.0.0.1:5000")
    try:
        return await Watch(url, token, sys.argv[1]).run()
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
