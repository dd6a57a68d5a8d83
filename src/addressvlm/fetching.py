"""Asking a server of others, politely: one request at a time, not too many a second, patience where it asks.

Nothing in this project asks anybody unless the user said so for this very server. Messages name the host
alone, never the address, because addresses hold keys.
"""

import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from addressvlm import __version__
from addressvlm.errors import AddressVLMError, UsageError

USER_AGENT = f"addressvlm/{__version__}"
_TRY_AGAIN = (429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 120.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Answer:
    """What a server said last: a status (0: nothing), the kind of content, the content or the trouble."""

    status: int
    kind: str = ""
    body: bytes = b""
    trouble: str = ""


class Fetcher:
    """Asks one host; `per_second` bounds how often, `tries` and `backoff_s` how patiently it is asked again.

    It asks again, with pauses that double from `backoff_s` on or are as long as the server wishes, where the
    server is busy or broken (429, 5xx) or does not answer within `timeout_s`. Redirections are not followed.
    """

    def __init__(
        self,
        *,
        per_second: float = 1.0,
        tries: int = 5,
        backoff_s: float = 1.0,
        timeout_s: float = 30.0,
        most_bytes: int = 20_000_000,
    ):
        self._pause_s = 1 / per_second
        self._tries = tries
        self._backoff_s = backoff_s
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._asked = -self._pause_s
        self._opener = urllib.request.build_opener(_NoRedirects)
        self.requests = 0

    def get(self, url: str, data: bytes | None = None) -> Answer:
        """Ask for an address (with `data`: by POST), again if need be; the last answer, whatever it is."""
        request = urllib.request.Request(checked_url(url), data, {"User-Agent": USER_AGENT})  # noqa: S310  # http(s) only, see checked_url
        for trial in range(1, self._tries + 1):
            answer, wished_s = self._ask(request)
            if answer.status not in (0, *_TRY_AGAIN) or trial == self._tries:
                break
            time.sleep(min(_LONGEST_WAIT_S, max(wished_s, self._backoff_s * 2 ** (trial - 1))))
        return answer

    def _ask(self, request: urllib.request.Request) -> tuple[Answer, float]:
        """One request; the answer and how long the server wants us to wait, in seconds."""
        time.sleep(max(0.0, self._asked + self._pause_s - time.monotonic()))
        self._asked = time.monotonic()
        self.requests += 1
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                body = response.read(self._most_bytes + 1)
                kind = response.headers.get_content_type()
                if len(body) > self._most_bytes:
                    return Answer(0, kind, trouble=f"answers with more than {self._most_bytes} bytes"), 0.0
                return Answer(response.status, kind, body), 0.0
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, trouble=f"answers {error.code}"), _wish(error.headers)
        except TimeoutError:
            return Answer(0, trouble=f"does not answer within {self._timeout_s:g} s"), 0.0
        except urllib.error.URLError as error:
            timed_out = isinstance(error.reason, TimeoutError)
            trouble = f"does not answer within {self._timeout_s:g} s" if timed_out else "cannot be reached"
            return Answer(0, trouble=trouble), 0.0
        except (OSError, http.client.HTTPException):
            return Answer(0, trouble="breaks off in the middle of its answer"), 0.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer of its own: a key must not wander to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def checked_url(url: str) -> str:
    """An address of the web without a password in it; raises `UsageError` for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("a web address that cannot be read; write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UsageError(
            f"{parts.scheme}://{parts.hostname or ''}… is no web address; write https://HOST/PATH"
        )
    if parts.username or parts.password:
        raise UsageError(f"the address at {parts.hostname} holds a name or password; leave it out")
    return url


def host_of(url: str) -> str:
    """The host that messages name."""
    return urlsplit(url).hostname or ""


def require_secrecy(url: str) -> None:
    """Refuse to send a key in the clear."""
    if urlsplit(url).scheme != "https" and host_of(url) not in _LOOPBACK:
        raise UsageError(f"a key is not sent to {host_of(url)} by http, where anybody can read it; use https")


def refusal(host: str, answer: Answer, ways_out: str) -> AddressVLMError:
    """The error for an answer that asking again will not change."""
    return AddressVLMError(f"{host} {answer.trouble or f'answers {answer.status}'}: {ways_out}")


def _wish(headers: Any) -> float:
    """Seconds of a Retry-After; 0 without one, or where it is a date."""
    text = str(headers.get("Retry-After", "")).strip()
    return float(text) if text.isdecimal() else 0.0
