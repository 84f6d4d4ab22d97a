"""What a page of HTML has: its tags and its texts."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br"}
"""Tags of the playground that have no end."""


class Document(HTMLParser):
    """The tags of a page with their attributes, and its texts by the id around them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            parent = self.inside[-1] if self.inside else ""
            self.inside.append(found.get("id") or parent)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        """Collect the texts by the nearest element around them that has an id."""
        if data.strip() and self.inside:
            self.texts.setdefault(self.inside[-1], []).append(data.strip())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
