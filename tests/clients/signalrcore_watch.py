"""Watches a deployment to its end with signalrcore.

    HOTSWAP_URL=... HOTSWAP_TOKEN=... python signalrcore_watch.py <executionId> <transport> <protocol>

Prints each event as {"event", "argument"}, one JSON object a line. Prints `ready` once all
calls are answered, and `report` at the end: the items of a stream, and the errors of wrong calls.
"""

import json
import os
import sys
import threading
from functools import partial
from typing import Any

from signalrcore.hub_connection_builder import HubConnectionBuilder
from signalrcore.types import HttpTransportType, HubProtocolEncoding

EVENTS = (
    "DeploymentStarted",
    "DeploymentStatusChanged",
    "DeploymentProgress",
    "NodeChanged",
    "ApprovalRequested",
    "DeploymentPromoted",
    "SoakJudged",
    "DeploymentDamaged",
    "DeploymentCompleted",
    "DeploymentFailed",
)
TIMEOUT_SECONDS = 60


def print_json(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


class Watch:
    """One connection and what it received. All callbacks run on the receiving thread."""

    def __init__(self, execution_id: str, transport: str, protocol: str) -> None:
        self.execution_id = execution_id
        self.failures: list[str] = []
        self.items: list[Any] = []
        self.ended = threading.Event()
        self.streamed = threading.Event()
        self.failed = threading.Event()
        token = os.environ["HOTSWAP_TOKEN"]
        options = {
            "access_token_factory": lambda: token,
            "transport": HttpTransportType(transport),
        }
        self.hub = (
            HubConnectionBuilder()
            .with_url(os.environ["HOTSWAP_URL"] + "/hubs/deployments", options=options)
            .with_hub_protocol(HubProtocolEncoding(protocol))
            .build()
        )
        self.hub.on_open(self.on_open)
        self.hub.on_error(self.on_error)
        for event in EVENTS:
            self.hub.on(event, partial(self.on_event, event))

    def on_open(self) -> None:
        self.hub.send("SubscribeToDeployment", [self.execution_id], self.on_subscribed)

    def on_subscribed(self, completion: Any) -> None:
        subscription = completion.result
        print_json(event="Subscribed", argument=subscription)
        beginning = {"epoch": subscription["epoch"], "offset": "0"}
        stream = self.hub.stream("StreamDeployment", [self.execution_id, beginning])
        stream.subscribe(
            {
                "next": self.items.append,
                "complete": lambda _: self.streamed.set(),
                "error": lambda error: self.failures.append(str(error)),
            }
        )
        self.hub.send("NoSuchMethod", [])

    def on_error(self, completion: Any) -> None:
        self.failures.append(completion.error)
        self.failed.set()
        print_json(ready=True)

    def on_event(self, event: str, arguments: list[Any]) -> None:
        print_json(event=event, argument=arguments[0])
        if event == "DeploymentCompleted":
            self.ended.set()


def main() -> int:
    watch = Watch(*sys.argv[1:])
    watch.hub.start()
    for event in (watch.ended, watch.streamed, watch.failed):
        if not event.wait(TIMEOUT_SECONDS):
            return 1
    print_json(report={"streamed": watch.items, "failures": watch.failures})
    return 0


if __name__ == "__main__":
    # Exits without `stop`, which waits for the engine's next ping over server-sent events.
    os._exit(main())
