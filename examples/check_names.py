"""Checks that the SignalR examples and docs/WEBSOCKET_GUIDE.md name the same things.

    python3 examples/check_names.py [repository]

The guide's tables say which methods and events each hub has. Then:

- every hub path, method and event that the source of an example names as a string, or
  that a code block of the guide does, is in the tables;
- an example that names a hub calls it, and handles every event of it;
- every method and event of the tables has an example in JSON, and all JSON is JSON.

One of the examples cannot be compiled where this is developed: this is what keeps a
slip of the pen out of it.
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

# A string between two quotes of one kind on one line. An apostrophe in a comment may open
# one that is none; what is then read has spaces, and is no name.
STRING = re.compile(r"""(["'`])((?:(?!\1)[^\\\n]|\\.)*)\1""")
# As methods and events are written: words with capitals, at least two of them.
NAME = re.compile(r"(?:[A-Z][a-z]+){2,}\Z")
# At the end of a string, whatever stands before it: an address is put in front.
PATH = re.compile(r"/hubs/[\w/-]*\Z")


class Guide:
    """What the guide says."""

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
    """The strings of a source file, in all of the languages well enough."""
    return [match[2] for match in STRING.finditer(source)]


def unknown(where: str, source: str, guide: Guide) -> list[str]:
    """What a source names that the guide does not know."""
    wrong = []
    for text in dict.fromkeys(strings(source)):
        if NAME.match(text) and text not in guide.names():
            wrong.append(f"{where} names {text}, which the guide does not know")
        if (path := PATH.search(text)) and path[0] not in guide.paths():
            wrong.append(f"{where} names {path[0]}, which is no hub of the guide")
    return wrong


def unhandled(where: str, source: str, guide: Guide) -> list[str]:
    """What an example leaves out of the hubs that it names."""
    named = set(strings(source))
    hubs = {path[0] for text in named if (path := PATH.search(text))}
    if not hubs:
        return [f"{where} names no hub"]
    wrong = []
    for hub in sorted(hubs):
        if not named & guide.methods.get(hub, set()):
            wrong.append(f"{where} calls no method of {hub}")
        missing = guide.events.get(hub, set()) - named
        wrong += [f"{where} does not handle {event}" for event in sorted(missing)]
    return wrong


def incomplete(guide: Guide) -> list[str]:
    """What the guide itself lacks."""
    if len(guide.methods) < 2 or len(guide.events) < 2 or not all(guide.events.values()):
        return ["the guide has no tables of methods and events for its hubs"]
    wrong, shown = [], set()
    for code in guide.json:
        try:
            shown.add(json.loads(code).get("target"))
        except ValueError as error:
            wrong.append(f"the guide has JSON that is none ({error}): {code[:60]!r}")
    missing = sorted(guide.names() - shown)
    return wrong + [f"the guide shows no example of {name}" for name in missing]


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    guide = Guide((root / "docs/WEBSOCKET_GUIDE.md").read_text("utf-8"))
    wrong = incomplete(guide)
    for code in guide.code:
        wrong += unknown("the guide", code, guide)
    for example, patterns in EXAMPLES.items():
        folder = root / "examples" / example
        files = sorted(file for pattern in patterns for file in folder.glob(pattern))
        sources = {file: file.read_text("utf-8") for file in files}
        for file, source in sources.items():
            wrong += unknown(str(file.relative_to(root)), source, guide)
        wrong += unhandled(f"examples/{example}", "\n".join(sources.values()), guide)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
