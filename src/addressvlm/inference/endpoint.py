"""A describer behind any OpenAI-compatible endpoint: vLLM, SGLang, Ollama, `transformers serve`, hosted ones.

One call describes one sample. What the server answers is sorted into a reply, a failure that may pass, and an
error that no further call can get past; nothing is repeated here, because the ledger counts every call. The
key comes from the environment at the moment of use and is never kept.
"""

import base64
import contextlib
import email.utils
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from addressvlm.dataset.labelcalls import Ask, Describer, NoAnswer, Reply
from addressvlm.errors import AddressVLMError, UsageError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SHOWN = 200  # characters of what a server says
_LONGEST_WAIT_S = 600.0  # that a server may ask for


@dataclass(frozen=True)
class Endpoint:
    """Where to ask and whom. `key_variable` names the environment variable that holds the key, if one is
    needed.

    `extra` goes into every request as it is, for servers with settings of their own.
    """

    url: str
    model: str
    key_variable: str | None = None
    timeout_s: float = 120.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"{self.url!r} is no endpoint; it looks like http://localhost:8000/v1, with http or https"
            )
        if parts.username or parts.password:
            raise UsageError(
                "the endpoint holds a user or password; put the key into the environment instead"
            )
        if self.key_variable is not None:
            if not os.environ.get(self.key_variable):
                raise UsageError(
                    f"the environment variable {self.key_variable} is not set; put the key into it"
                )
            if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
                raise UsageError(
                    f"{self.url} would carry the key of {self.key_variable} unencrypted; use https, or no key"
                )

    def open(self) -> Describer:
        """A describer with connections of its own."""
        asker = _Asker(self)
        return lambda asks: [asker.answer(ask) for ask in asks]


class _Asker:
    def __init__(self, endpoint: Endpoint):
        try:
            import openai
        except ImportError:
            raise UsageError(
                "asking an endpoint needs the package openai: pip install 'addressvlm[label]'"
            ) from None
        self._endpoint, self._openai = endpoint, openai
        key = os.environ.get(endpoint.key_variable, "") if endpoint.key_variable else ""
        # Whose account pays is said by the key alone; what else is in the environment is not sent.
        unsaid: Any = openai.Omit()
        self._client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=key or "none",
            timeout=endpoint.timeout_s,
            max_retries=0,
            default_headers={"OpenAI-Organization": unsaid, "OpenAI-Project": unsaid},
        )
        # Settings that servers disagree about, by our name: what this one calls it, "" where it wants none.
        self._called = {"max_tokens": "max_tokens", "temperature": "temperature", "seed": "seed"}

    def answer(self, ask: Ask) -> Reply | NoAnswer:
        """One call, whatever comes of it."""
        try:
            parts = content(ask)
        except OSError as error:
            return NoAnswer("picture", f"a picture cannot be read: {error.strerror or error}")
        for _ in self._called:  # a setting may be refused, and then another
            reply = self._sent(ask, parts)
            if reply is not None:
                return reply
        return NoAnswer("bad_request", f"{self._endpoint.url} refuses our settings")

    def _sent(self, ask: Ask, parts: list[dict[str, Any]]) -> Reply | NoAnswer | None:
        """The outcome of one request; None if a setting was refused that the next one is without."""
        openai = self._openai
        values = {"max_tokens": ask.max_tokens, "temperature": ask.temperature, "seed": ask.seed}
        request: Any = {
            "model": self._endpoint.model,
            "messages": [{"role": "user", "content": parts}],
            **{self._called[name]: value for name, value in values.items() if self._called[name]},
        }
        try:
            # Not `chat.completions.create`: it compares every message with its types, which takes as long as
            # all else that the client does for a call.
            text = self._client.post(
                "/chat/completions", body={**request, **self._endpoint.extra}, cast_to=str
            )
        except openai.APITimeoutError:
            return NoAnswer(
                "timeout", f"{self._endpoint.url} did not answer within {self._endpoint.timeout_s:g} s"
            )
        except openai.APIStatusError as error:
            return self._refused(error.response.status_code, error.response.text, error.response.headers)
        except openai.APIConnectionError as error:
            return NoAnswer("connection", self._unreached(error))
        return _read(text, self._endpoint.url)

    def _refused(self, status: int, text: str, headers: Mapping[str, str]) -> NoAnswer | None:
        """What an answer with an error status means; raises where no further call can get past it."""
        url, variable = self._endpoint.url, self._endpoint.key_variable
        told, code, parameter = _error_of(text)
        if status in (401, 403):
            way_out = (
                f"check the key in {variable}"
                if variable
                else "name the variable that holds one (--key-variable)"
            )
            raise AddressVLMError(f"{url} refuses the key ({status}: {told}); {way_out}")
        if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
            raise AddressVLMError(f"the account at {url} has no money left ({status}: {told})")
        if status in (404, 405):
            raise AddressVLMError(self._not_found(status, told))
        if status == 429:
            return NoAnswer("rate_limit", f"{url} is asked too often ({told})", _retry_after_s(headers))
        if status >= 500 or status in (408, 409, 425):
            message = f"{url} has trouble of its own ({status}: {told})"
            return NoAnswer("server_error", message, _retry_after_s(headers))
        if parameter in self._called and self._called[parameter] == parameter:
            wants_other = parameter == "max_tokens" and "max_completion_tokens" in told
            self._called[parameter] = "max_completion_tokens" if wants_other else ""
            return None
        return NoAnswer("bad_request", f"{url} calls the request bad ({status}: {told})")

    def _not_found(self, status: int, told: str) -> str:
        if "model" not in told.lower():
            return (
                f"{self._endpoint.url}/chat/completions does not exist ({status}); "
                "check host, port and path, which usually ends in /v1"
            )
        known: list[str] = []
        with contextlib.suppress(self._openai.OpenAIError, ValueError, AttributeError):
            known = [model.id for model in self._client.models.list().data]
        offered = f"; it has {', '.join(sorted(known)[:8])}" if known else "; ask its owner what it has"
        return f"{self._endpoint.url} has no model {self._endpoint.model!r} ({told}){offered}"

    def _unreached(self, error: Exception) -> str:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return (
            f"{self._endpoint.url} cannot be reached ({cause}); start the server, look into its log, "
            "or check the address"
        )


def content(ask: Ask) -> list[dict[str, Any]]:
    """Instructions, pictures as data, hint: the parts of one message in this order."""
    pictures = [base64.b64encode(image.read_bytes()).decode("ascii") for image in ask.images]
    return [
        {"type": "text", "text": ask.instructions},
        *(
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}}
            for picture in pictures
        ),
        {"type": "text", "text": ask.hint},
    ]


def _read(text: str, url: str) -> Reply | NoAnswer:
    """The reply in a body that came with a good status."""
    if text.lstrip()[:1] == "<":
        return NoAnswer(
            "web_page",
            f"{url} answers with a web page, not as an API; check host, port and path, which usually ends in "
            "/v1",
        )
    try:
        body = json.loads(text)
        choice, usage = body["choices"][0], body.get("usage") or {}
        said = choice["message"]["content"]
        if not isinstance(said, str | None):
            raise TypeError(type(said))
        return Reply(
            said or "",
            cut=choice.get("finish_reason") == "length",
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return NoAnswer("garbage", f"{url} answers with what is no chat completion: {_short(text)!r}")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _error_of(text: str) -> tuple[str, str, str]:
    """What an error says, its code, and the setting it is about, as far as it is told."""
    try:
        body = json.loads(text)
        error = body.get("error", body)
        if not isinstance(error, dict):
            error = {"message": str(error)}
        said = error.get("message") or error.get("detail") or text
        return _short(str(said)), str(error.get("code") or ""), str(error.get("param") or "")
    except (ValueError, AttributeError):
        return ("a web page" if text.lstrip()[:1] == "<" else _short(text)), "", ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a server wants to be left alone, told as such or as a date; 0 if it tells none."""
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        with contextlib.suppress(ValueError):
            return min(_LONGEST_WAIT_S, max(0.0, float(headers.get(name, "")) / per_second))
    with contextlib.suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return min(_LONGEST_WAIT_S, max(0.0, until.timestamp() - time.time()))
    return 0.0
