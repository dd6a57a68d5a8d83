"""Tiles of a server that the user chose and may use, kept on disk so that each is asked for once."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.fetching import Answer, Fetcher, checked_url, host_of, refusal, require_secrecy
from addressvlm.folders import write_atomically
from addressvlm.imagery.opening import image_of
from addressvlm.imagery.tilegrid import TILE_ENDS, Tile
from addressvlm.work import say

KEY = "ADDRESSVLM_TILE_KEY"
_FIELDS = ("{z}", "{x}", "{y}")
_SECRETS = re.compile(r"key|token|secret|signature|sig|password|auth", re.IGNORECASE)
_FAILURES = 3  # in a row: then it is not the tile's fault
_NO_TILE = (204, 404, 410)
_REFUSED = (401, 403)


@dataclass(frozen=True)
class WebAccess:
    """How a tile server may be asked, and what it has."""

    per_second: float = 2.0
    max_zoom: int = 18
    tile_px: int = 256
    cache: Path | None = None
    tries: int = 5
    backoff_s: float = 1.0
    timeout_s: float = 30.0


class WebTiles:
    """The tiles of `template`, a web address with `{z}`, `{x}` and `{y}`, and `{key}` where a key belongs.

    The key is that of the environment variable `ADDRESSVLM_TILE_KEY`; it is never written anywhere. `has`
    fetches a tile unless it lies in the cache; `missing` tells why one could not be had.
    """

    attribution = ""
    zooms_alike = False

    def __init__(self, template: str, access: WebAccess):
        self.template = checked_template(template)
        self.host = host_of(template)
        self.missing: dict[Tile, str] = {}
        self._access = access
        self._key = _key() if "{key}" in template else ""
        self._failed_in_a_row = 0
        self._cache = (access.cache or cache_folder()) / self.fingerprint[:16]

    @property
    def fingerprint(self) -> str:
        """Digest of the address without the key."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    @property
    def ending(self) -> str:
        """What the address ends with, where that is the ending of a picture."""
        ending = Path(urlsplit(self.template).path).suffix.lower()
        return ending if ending in TILE_ENDS else ""

    @property
    def tile_px(self) -> int:
        """As the user says; the first tile that is fetched must agree."""
        return self._access.tile_px

    @property
    def zooms(self) -> range:
        """The finest zoom and the two above it."""
        return range(max(0, self._access.max_zoom - 2), self._access.max_zoom + 1)

    def has(self, tile: Tile) -> bool:
        """Whether the tile is in the cache or can be fetched."""
        if tile in self.missing:
            return False
        return self._file(tile).is_file() or self._fetched(tile)

    def read(self, tile: Tile) -> bytes:
        """The tile's bytes."""
        if not self.has(tile):
            raise AddressVLMError(f"{self.host} has no tile {tile}: {self.missing[tile]}")
        return self._file(tile).read_bytes()

    def _fetched(self, tile: Tile) -> bool:
        answer = self._fetcher.get(self._address(tile))
        reason = self._why_not(answer)
        if reason:
            self.missing[tile] = reason
            self._failed_in_a_row += answer.status not in _NO_TILE
            if self._failed_in_a_row >= _FAILURES:
                raise AddressVLMError(
                    f"{self.host}: {_FAILURES} tiles in a row could not be had, the last one because it "
                    f"{reason}; check the address, or run the same command later: what was fetched is kept"
                )
            return False
        self._failed_in_a_row = 0
        file = self._file(tile)
        file.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(file, durable=False) as temporary:
            temporary.write_bytes(answer.body)
        return True

    def _why_not(self, answer: Answer) -> str:
        """Why an answer is no tile, or ""; raises `AddressVLMError` where it concerns all tiles."""
        kept = "what was fetched is kept"
        if answer.status in _REFUSED:
            raise refusal(
                self.host, answer, f"is the key in {KEY} right, and do its terms allow this? {kept}"
            )
        if 300 <= answer.status < 400:
            raise refusal(self.host, answer, "it sends on to another address; write the final one")
        if answer.status == 429:
            raise refusal(
                self.host,
                answer,
                f"it wants fewer requests; lower satellite_per_second and come back later; {kept}",
            )
        if answer.status in _NO_TILE:
            return f"has no such tile ({answer.status})"
        if answer.status != 200:
            return answer.trouble or f"answers {answer.status}"
        try:
            size = image_of(answer.body, "the tile").size
        except AddressVLMError:
            return f"answers with {answer.kind}, which is no JPEG, PNG or WebP picture"
        if size != (self.tile_px, self.tile_px):
            raise UsageError(
                f"the tiles of {self.host} are {size[0]} x {size[1]} px: set satellite_tile_px = {size[0]}"
            )
        return ""

    def _address(self, tile: Tile) -> str:
        address = self.template.replace("{key}", quote(self._key, safe=""))
        for field, number in zip(_FIELDS, tile, strict=True):
            address = address.replace(field, str(number))
        return address

    def _file(self, tile: Tile) -> Path:
        zoom, x, y = tile
        return self._cache / str(zoom) / str(x) / f"{y}"

    @cached_property
    def _fetcher(self) -> Fetcher:
        access = self._access
        say(f"fetching tiles from {self.host}, at most {access.per_second:g} a second, into {self._cache}")
        return Fetcher(
            per_second=access.per_second,
            tries=access.tries,
            backoff_s=access.backoff_s,
            timeout_s=access.timeout_s,
        )


def checked_template(template: str) -> str:
    """A tile address that may be written down: with its three fields and without a secret."""
    checked_url(template)
    if any(template.count(field) != 1 for field in _FIELDS):
        raise UsageError(
            f"the tile address at {host_of(template)} must hold {{z}}, {{x}} and {{y}}, each once"
        )
    parts = urlsplit(template)
    for name, value in parse_qsl(parts.query):
        if _SECRETS.search(name) and value != "{key}":
            raise UsageError(
                f"the tile address at {parts.hostname} holds a secret in {name!r}; write {name}={{key}} and "
                f"put it into the environment variable {KEY}"
            )
    if "{key}" in template:
        require_secrecy(template)
    if "{" in parts.netloc:
        raise UsageError("the host of a tile address is written out, without fields")
    return template


def cache_folder() -> Path:
    """Where tiles are kept between builds, unless the user names a place."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "addressvlm" / "tiles"


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise UsageError(f"the tile address wants a key: set the environment variable {KEY}")
    return key
