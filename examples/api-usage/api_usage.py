"""Walks the REST API of HotSwap: looks around, deploys, and watches to the end.

HOTSWAP_URL is the engine (default http://127.0.0.1:5000), HOTSWAP_TOKEN its token.
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

# The engine writes into an idle stream every 15 seconds: after a silence as long as this
# the connection is dead, whatever the socket says.
SILENCE_SECONDS = 45


class Sent(NamedTuple):
    """One event of a stream."""

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
        """Sends a request; bytes go as a component, all else as JSON."""
        request = urllib.request.Request(self.url + path, method=method, headers=headers or {})
        request.add_header("Authorization", f"Bearer {self.token}")
        if isinstance(body, bytes):
            request.data = body
            request.add_header("Content-Type", "application/wasm")
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=SILENCE_SECONDS)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request, read from JSON."""
        with self.open(method, path, body) as answer:
            return json.load(answer)

    def events(self, execution_id: str) -> Iterator[dict[str, Any]]:
        """The events of a deployment, each once, from the first to the last.

        A connection that is cut is opened again: `Last-Event-ID` says what was seen, and
        the engine goes on behind it.
        """
        path = f"/api/v1/deployments/{execution_id}/events"
        last, tries = None, 0
        while True:
            headers = {"Accept": "text/event-stream"}
            if last is not None:
                headers["Last-Event-ID"] = last
            try:
                with self.open("GET", path, headers=headers) as stream:
                    if stream.status == 204:
                        return  # nothing follows what was seen
                    for sent in read(stream):
                        if sent.name == "end":
                            return
                        # Those with a name say something of the stream itself.
                        if sent.name == "message":
                            yield json.loads(sent.data)
                        last, tries = sent.id, 0
                reason = "the stream ended early"
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise
                reason = str(error)
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
            # Random, or all watchers would come back to a restarted engine at once.
            print(f"    (again, because: {reason})", file=sys.stderr)
            time.sleep(random.uniform(0, 0.25 * 2 ** min(tries, 4)))
            tries += 1


def read(stream: Any) -> Iterator[Sent]:
    """Reads server-sent events. One that is cut off in the middle is not given out."""
    name, last, data = "message", "", list[str]()
    for raw in stream:
        line = raw.decode().rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            last = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            yield Sent(name, last, "\n".join(data))
            name, data = "message", []


def look_around(engine: Engine) -> None:
    print("environments")
    for cluster in engine.ask("GET", "/api/v1/clusters")["clusters"]:
        health = ", ".join(f"{count} {how}" for how, count in cluster["health"].items() if count)
        strategy = cluster["policy"]["defaultStrategy"]
        print(f"    {cluster['environment']}: {health or 'no nodes'}; by default {strategy}")
    print("nodes")
    for node in engine.ask("GET", "/api/v1/nodes")["nodes"]:
        print(f"    {node['id']}: {node['environment']}, {node['health']}")
    print("modules")
    for module in engine.ask("GET", "/api/v1/modules")["modules"]:
        versions = ", ".join(version["version"] for version in module["versions"])
        print(f"    {module['name']}: {versions}")
    print("strategies")
    for strategy in engine.ask("GET", "/api/v1/strategies")["strategies"]:
        print(f"    {strategy['name']} {strategy['version']}: {strategy['summary']}")


def deploy(engine: Engine, arguments: argparse.Namespace) -> int:
    if arguments.module_file:
        module, version = quote(arguments.module), quote(arguments.version)
        path = f"/api/v1/modules/{module}/versions/{version}"
        uploaded = engine.ask("PUT", path, arguments.module_file.read_bytes())
        print(f"uploaded {uploaded['name']} {uploaded['version']}: {uploaded['digest']}")
    request = {
        "moduleName": arguments.module,
        "version": arguments.version,
        "targetEnvironment": arguments.environment,
        "requesterEmail": arguments.email,
    }
    # Not tried again: where an answer is lost, the deployment may have begun all the same.
    execution_id = engine.ask("POST", "/api/v1/deployments", request)["executionId"]
    print(f"deployment {execution_id}")
    outcome, cause = "", ""
    for event in engine.events(execution_id):
        kind, data = event["body"]["type"], event["body"].get("data", {})
        at = time.strftime("%H:%M:%S", time.localtime(event["at"] / 1000))
        shown = json.dumps(data)[:80] if data else ""
        print(f"    {at} {event['seq']:>3} {kind:<14} {shown}", flush=True)
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
    parser.add_argument("--module-file", type=Path, help="a component, uploaded as that version first")
    parser.add_argument("--email", default="api-usage@example.org", help="who asks; default: %(default)s")
    arguments = parser.parse_args()
    token = os.environ.get("HOTSWAP_TOKEN", "")
    # What cannot stand in a header would come back in the text of an error.
    if not re.fullmatch("[!-~]+", token):
        parser.error("HOTSWAP_TOKEN holds no token")
    engine = Engine(os.environ.get("HOTSWAP_URL", "http://127.0.0.1:5000"), token)
    try:
        look_around(engine)
        return deploy(engine, arguments)
    except urllib.error.HTTPError as error:
        # What went wrong, as RFC 9457 writes it; a proxy may answer otherwise.
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
