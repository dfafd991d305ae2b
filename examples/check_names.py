"""Checks that the SignalR examples and docs/WEBSOCKET_GUIDE.md name the same things.

    python3 examples/check_names.py [repository]

The guide's tables list the methods and events of each hub. The checks:

- every hub path, method and event in a string of an example's source, or of a code block
  of the guide, is in the tables;
- an example that names a hub calls one of its methods, and handles the events that these
  bring: all of the hub, unless `BROUGHT_BY` says otherwise;
- the guide has a JSON example for every method and event of the tables, and all of its
  JSON is valid.

The tests cannot compile the C# example. This check finds misspelt names in it.
"""

import json
import re
import sys
from pathlib import Path

EXAMPLES = {
    "javascript-websocket-client": ["src/*.js"],
    "typescript-websocket-client": ["src/*.ts"],
    "python-websocket-client": ["*.py"],
    "csharp-websocket-client": ["*.cs"],
}
LANGUAGES = {"js", "ts", "csharp", "python"}

# Of a hub whose methods bring different events: which one brings which.
BROUGHT_BY = {
    "SubscribeToMetrics": {"MetricsUpdated"},
    "SubscribeToSources": {"SourceChanged"},
}

# A string between two equal quotes on one line. An apostrophe in a comment may match too;
# that text contains spaces, so it does not pass as a name.
STRING = re.compile(r"""(["'`])((?:(?!\1)[^\\\n]|\\.)*)\1""")
# Methods and events are written as at least two capitalised words.
NAME = re.compile(r"(?:[A-Z][a-z]+){2,}\Z")
# Matches at the end of a string, because the engine's URL may precede the path.
PATH = re.compile(r"/hubs/[\w/-]*\Z")


class Guide:
    """The names in the guide, and its code blocks."""

    def __init__(self, text: str) -> None:
        self.events: dict[str, set[str]] = {}
        self.methods: dict[str, set[str]] = {}
        self.aliases = set(re.findall(r"^`(/hubs/\w+)` is another name", text, re.M))
        fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
        self.json = [code for language, code in fences if language == "json"]
        self.code = [code for language, code in fences if language in LANGUAGES]
        hub = table = None
        for line in re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S).splitlines():
            if heading := re.match(r"## (?:The hub (/hubs/\w+))?", line):
                hub = heading[1]
            if not line.startswith("|"):
                table = None
            elif hub and table is None:
                kinds = {"method": self.methods, "event": self.events}
                kind = kinds.get(line.split("|")[1].strip())
                table = set[str]() if kind is None else kind.setdefault(hub, set())
            elif table is not None and (row := re.match(r"\| `(\w+)", line)):
                table.add(row[1])

    def names(self) -> set[str]:
        """All methods and events."""
        return set().union(*self.methods.values(), *self.events.values())

    def paths(self) -> set[str]:
        """All hubs."""
        return self.methods.keys() | self.events.keys() | self.aliases


def strings(source: str) -> list[str]:
    """The strings of a source file. Exact enough for all the languages of the examples."""
    return [match[2] for match in STRING.finditer(source)]


def find_unknown_names(where: str, source: str, guide: Guide) -> list[str]:
    """Errors for names in a source that the guide does not have."""
    errors = []
    for text in dict.fromkeys(strings(source)):
        if NAME.match(text) and text not in guide.names():
            errors.append(f"{where} names {text}, which is not in the guide")
        if (path := PATH.search(text)) and path[0] not in guide.paths():
            errors.append(f"{where} names {path[0]}, which is not a hub in the guide")
    return errors


def find_unhandled_events(where: str, source: str, guide: Guide) -> list[str]:
    """Errors for methods and events that an example does not use."""
    named = set(strings(source))
    hubs = {path[0] for text in named if (path := PATH.search(text))}
    if not hubs:
        return [f"{where} names no hub"]
    errors = []
    for hub in sorted(hubs):
        called = named & guide.methods.get(hub, set())
        if not called:
            errors.append(f"{where} calls no method of {hub}")
        brought = set().union(*(BROUGHT_BY.get(method, set()) for method in called))
        missing = (brought or guide.events.get(hub, set())) - named
        errors += [f"{where} does not handle {event}" for event in sorted(missing)]
    return errors


def find_gaps(guide: Guide) -> list[str]:
    """Errors in the guide itself."""
    if len(guide.methods) < 2 or len(guide.events) < 2 or not all(guide.events.values()):
        return ["the guide has no tables of methods and events for its hubs"]
    errors, named_in_json = [], set()
    for code in guide.json:
        try:
            named_in_json.add(json.loads(code).get("target"))
        except ValueError as error:
            errors.append(f"the guide has invalid JSON ({error}): {code[:60]!r}")
    missing = sorted(guide.names() - named_in_json)
    return errors + [f"the guide shows no example of {name}" for name in missing]


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    guide = Guide((root / "docs/WEBSOCKET_GUIDE.md").read_text("utf-8"))
    errors = find_gaps(guide)
    for code in guide.code:
        errors += find_unknown_names("the guide", code, guide)
    for example, patterns in EXAMPLES.items():
        folder = root / "examples" / example
        files = sorted(file for pattern in patterns for file in folder.glob(pattern))
        sources = {file: file.read_text("utf-8") for file in files}
        for file, source in sources.items():
            errors += find_unknown_names(str(file.relative_to(root)), source, guide)
        errors += find_unhandled_events(f"examples/{example}", "\n".join(sources.values()), guide)
    for line in errors:
        print(line, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
