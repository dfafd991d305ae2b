"""A tour of HotSwap's REST API: lists what there is, deploys, and watches to the end.

HOTSWAP_URL is the engine's URL (default http://127.0.0.1:5000), HOTSWAP_TOKEN an API token.
Exit codes: 0 succeeded, 1 error, 2 usage, 3 failed or rolled back, 130 interrupted.
"""

import argparse
import http.client
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

# The engine writes to an idle stream every 15 seconds. After this long without data the
# connection is dead, even if the socket reports no error.
SILENCE_SECONDS = 45


class ServerSentEvent(NamedTuple):
    """One event of an event stream."""

    name: str
    id: str
    data: str


class Engine:
    """The API of an engine."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.token = token

    def open(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        """Sends a request. Sends bytes as a WebAssembly component, anything else as JSON."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers or {})
        request.add_header("Authorization", f"Bearer {self.token}")
        if isinstance(body, bytes):
            request.data = body
            request.add_header("Content-Type", "application/wasm")
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=SILENCE_SECONDS)

    def request_json(self, method: str, path: str, body: Any = None) -> Any:
        """Sends a request and returns the JSON of the answer."""
        with self.open(method, path, body) as answer:
            return json.load(answer)

    def events(self, execution_id: str) -> Iterator[dict[str, Any]]:
        """The events of a deployment, each once, from the first to the last.

        Reconnects when the connection is lost: the engine continues after `Last-Event-ID`.
        """
        path = f"/api/v1/deployments/{execution_id}/events"
        last_id, attempts = None, 0
        while True:
            headers = {"Accept": "text/event-stream"}
            if last_id is not None:
                headers["Last-Event-ID"] = last_id
            try:
                with self.open("GET", path, headers=headers) as stream:
                    if stream.status == 204:
                        return  # there are no more events
                    for event in read_events(stream):
                        if event.name == "end":
                            return
                        # Named events describe the stream, not the deployment.
                        if event.name == "message":
                            yield json.loads(event.data)
                        last_id, attempts = event.id, 0
                reason = "the stream ended early"
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise
                reason = str(error)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
            # Random delays, so that not all watchers reconnect to a restarted engine at once.
            print(f"    (reconnecting: {reason})", file=sys.stderr)
            time.sleep(random.uniform(0, 0.25 * 2 ** min(attempts, 4)))
            attempts += 1


def read_events(stream: Any) -> Iterator[ServerSentEvent]:
    """Reads server-sent events. Skips an incomplete event at the end of the stream."""
    name, event_id, data = "message", "", list[str]()
    for raw_line in stream:
        line = raw_line.decode().rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            yield ServerSentEvent(name, event_id, "\n".join(data))
            name, data = "message", []


def print_overview(engine: Engine) -> None:
    print("environments")
    for cluster in engine.request_json("GET", "/api/v1/clusters")["clusters"]:
        counts = [f"{count} {state}" for state, count in cluster["health"].items() if count]
        health = ", ".join(counts)
        strategy = cluster["policy"]["defaultStrategy"]
        print(f"    {cluster['environment']}: {health or 'no nodes'}, default strategy {strategy}")
    print("nodes")
    for node in engine.request_json("GET", "/api/v1/nodes")["nodes"]:
        print(f"    {node['id']}: {node['environment']}, {node['health']}")
    print("modules")
    for module in engine.request_json("GET", "/api/v1/modules")["modules"]:
        versions = ", ".join(version["version"] for version in module["versions"])
        print(f"    {module['name']}: {versions}")
    print("strategies")
    for strategy in engine.request_json("GET", "/api/v1/strategies")["strategies"]:
        print(f"    {strategy['name']} {strategy['version']}: {strategy['summary']}")


def deploy(engine: Engine, arguments: argparse.Namespace) -> int:
    if arguments.module_file:
        module, version = quote(arguments.module), quote(arguments.version)
        path = f"/api/v1/modules/{module}/versions/{version}"
        uploaded = engine.request_json("PUT", path, arguments.module_file.read_bytes())
        print(f"uploaded {uploaded['name']} {uploaded['version']}: {uploaded['digest']}")
    request = {
        "moduleName": arguments.module,
        "version": arguments.version,
        "targetEnvironment": arguments.environment,
        "requesterEmail": arguments.email,
    }
    # Not retried: the deployment may exist even if the answer was lost.
    execution_id = engine.request_json("POST", "/api/v1/deployments", request)["executionId"]
    print(f"deployment {execution_id}")
    outcome, cause = "", ""
    for event in engine.events(execution_id):
        kind, data = event["body"]["type"], event["body"].get("data", {})
        at = time.strftime("%H:%M:%S", time.localtime(event["at"] / 1000))
        summary = json.dumps(data)[:80] if data else ""
        print(f"    {at} {event['seq']:>3} {kind:<14} {summary}", flush=True)
        if kind == "reverting":
            cause = f", because {data['cause']['message']}"
        elif kind == "ended":
            outcome = data["outcome"]
    print(outcome + cause)
    return 0 if outcome == "succeeded" else 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("version", nargs="?", default="2.0.0", help="default: %(default)s")
    parser.add_argument("environment", nargs="?", default="development", help="default: %(default)s")
    parser.add_argument("--module", default="hello", help="default: %(default)s")
    parser.add_argument("--module-file", type=Path, help="component to upload as this version first")
    parser.add_argument("--email", default="api-usage@example.org", help="requester; default: %(default)s")
    arguments = parser.parse_args()
    token = os.environ.get("HOTSWAP_TOKEN", "")
    # A token with other characters is no valid header, and the error would print it.
    if not re.fullmatch("[!-~]+", token):
        parser.error("HOTSWAP_TOKEN is unset or not a token: set it to an API token")
    engine = Engine(os.environ.get("HOTSWAP_URL", "http://127.0.0.1:5000"), token)
    try:
        print_overview(engine)
        return deploy(engine, arguments)
    except urllib.error.HTTPError as error:
        # The engine answers errors with problem details (RFC 9457); a proxy may not.
        text = error.read().decode(errors="replace")
        detail = json.loads(text).get("detail") if text.startswith("{") else text
        print(f"{error}: {detail}", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
