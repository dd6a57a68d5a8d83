"""A page as a browser takes it: tags, visible text, and the data and code in its scripts."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

# Without an end tag in HTML.
_VOID = {"meta", "img", "br", "input", "hr", "link"}


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self.text += data

    @property
    def map(self) -> Any:
        """What the map draws."""
        return json.loads(self.scripts[0])

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def require_alone(self) -> None:
        """The page loads nothing, and tells the browser not to."""
        policy = next(meta["content"] for meta in self.of("meta") if "http-equiv" in meta)
        assert policy is not None
        assert policy.startswith("default-src 'none'; img-src data:")
        for tag, attributes in self.tags:
            assert tag not in ("link", "iframe", "object", "base")
            for name in ("src", "href"):
                link = attributes.get(name) or "#"
                assert link.startswith(("#", "data:image/jpeg;base64,")), (tag, link)
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert not re.search(r"https?://|@import|url\(", self.html)

    def require_accessible(self) -> None:
        """Every picture has words, the map has a name, the language and the size of screens are told."""
        assert all(image["alt"] for image in self.of("img"))
        assert all(canvas["aria-label"] for canvas in self.of("canvas"))
        assert self.of("html")[0]["lang"] == "en"
        assert any("width=device-width" in (meta.get("content") or "") for meta in self.of("meta"))
        assert "prefers-color-scheme: dark" in self.html
