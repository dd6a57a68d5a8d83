"""Chat templates as pieces around pictures, questions and answers.

Phi-3's, as xtuner writes it for LLaVA, is the paper's, and is taken for every tokenizer that has its control
tokens. Any other is read off the chat template of the tokenizer: a conversation of marks is rendered, and
what stands between the marks are the pieces.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from addressvlm.errors import AddressVLMError

BOS = "<s>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
SYSTEM = "<|system|>"
END = "<|end|>"
IMAGE = "<image>"

# Phi-3's, with <s> in front as xtuner trains it, and with pictures. Contents are strings or lists of parts.
PHI3_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content if part.type == 'image' %}{{ '<image>\\n' }}{% endfor %}
{%- for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}
{%- endif %}
{{- '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""

# Marks that no template and no vocabulary holds as one word.
_Q1, _A1, _Q2, _A2 = "XQONEX", "XAONEX", "XQTWOX", "XATWOX"

Piece = tuple[int | str, ...]
"""Control tokens by their id, and plain text."""


@dataclass(frozen=True)
class Template:
    """What stands in front of, between and behind the parts of a conversation.

    Around the tokens of a picture stand `picture_start` and `picture_end`. `lead` is text that the template
    puts in front of every answer, which is learned with it; `end` closes an answer.
    """

    opening: Piece
    picture_start: Piece
    picture_token: int
    picture_end: Piece
    after_picture: Piece
    before_answer: Piece
    lead: str
    end: int
    next_question: Piece

    def picture(self, number: int, tokens: int) -> Piece:
        """The picture of this number (0, 1, …), which has so many tokens, with what stands around it."""
        start = (part.format(number=number) if isinstance(part, str) else part for part in self.picture_start)
        return (*start, *([self.picture_token] * tokens), *self.picture_end)


def template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    """The template of a tokenizer; one without a picture token or a template is an error that says so."""
    return _template_of(tokenizer)


@lru_cache(maxsize=64)
def _template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    added = tokenizer.get_added_vocab()
    image = image_token(tokenizer)
    speaks_phi3 = {USER, ASSISTANT, END} <= added.keys()
    if not speaks_phi3 and not getattr(tokenizer, "chat_template", None):
        raise AddressVLMError(
            f"the tokenizer has neither {USER}, {ASSISTANT} and {END} nor a chat template; nobody knows how "
            "its model is spoken to; add chat_template.jinja to its folder"
        )
    phi3 = PHI3_TEMPLATE if speaks_phi3 else None
    asked, answered = _rendered(tokenizer, image, phi3)
    try:
        opening, between = asked.split(_Q1)
        _, answer, rest = re.split(f"{_Q1}|{_A1}", answered)
        next_question = rest.split(_Q2)[0]
        before_picture, after_picture = opening.split(image)
    except ValueError:
        raise AddressVLMError(
            f"the chat template of the tokenizer does not put one {image} in front of the first question and "
            "every text in its place; give it another chat_template.jinja"
        ) from None
    lead = answer.removeprefix(between) if answer.startswith(between) else ""
    behind = _piece(next_question, tokenizer)
    ends = [token for token in behind if isinstance(token, int)]
    end = ends[0] if ends else tokenizer.eos_token_id
    if end is None:
        raise AddressVLMError("neither the chat template nor the tokenizer says what ends an answer")
    start, stop = _around_pictures(tokenizer)
    return Template(
        opening=_with_bos(_piece(before_picture, tokenizer), tokenizer),
        picture_start=start,
        picture_token=added[image],
        picture_end=stop,
        after_picture=_piece(after_picture, tokenizer),
        before_answer=_piece(between, tokenizer),
        lead=lead,
        end=end,
        next_question=behind[behind.index(end) + 1 :] if end in behind else behind,
    )


def image_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of the token that stands for pictures; a tokenizer without one is an error."""
    token = getattr(tokenizer, "image_token", None) or IMAGE
    if token not in tokenizer.get_added_vocab():
        raise AddressVLMError(
            f"the tokenizer has no picture token ({token}); take that of a model that reads pictures (such "
            "as xtuner/llava-phi-3-mini-hf), or add the token, and its id as image_token_index of config.json"
        )
    return str(token)


def control_ids(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[Any]) -> list[int]:
    """The ids of control tokens; a tokenizer that lacks one is an error that names it."""
    added = tokenizer.get_added_vocab()
    missing = [token for token in tokens if token not in added]
    if missing:
        raise AddressVLMError(f"the tokenizer has no {', '.join(missing)}")
    return [added[token] for token in tokens]


def _around_pictures(tokenizer: PreTrainedTokenizerBase) -> tuple[Piece, Piece]:
    """What the processor of a model puts around its picture tokens, by the names its tokenizer has for it."""
    for start, end in (("image_start_token", "image_end_token"), ("start_image_token", "end_image_token")):
        names = [getattr(tokenizer, name, None) for name in (start, end)]
        if all(names):
            first, last = control_ids(tokenizer, names)
            numbered = [getattr(tokenizer, f"image_id_{side}_token", None) for side in ("start", "end")]
            if not all(numbered):
                return (first,), (last,)
            before, behind = control_ids(tokenizer, numbered)
            return (before, "{number}", behind, first), (last,)
    return (), ()


def _rendered(tokenizer: PreTrainedTokenizerBase, image: str, template: str | None) -> tuple[str, str]:
    """A question as a prompt, and two rounds, in marks; templates know parts, or else only strings."""
    parts = [{"type": "image"}, {"type": "text", "text": _Q1}]
    errors: list[str] = []
    for content in (parts, f"{image}\n{_Q1}"):
        first = [{"role": "user", "content": content}]
        rounds = [
            *first,
            {"role": "assistant", "content": _A1},
            {"role": "user", "content": _Q2},
            {"role": "assistant", "content": _A2},
        ]
        try:
            asked, answered = (
                tokenizer.apply_chat_template(
                    messages, chat_template=template, tokenize=False, add_generation_prompt=open_end
                )
                for messages, open_end in ((first, True), (rounds, False))
            )
        except (TemplateError, TypeError, ValueError) as error:
            errors.append(str(error))
            continue
        if asked.count(image) == 1 and "'type'" not in asked:
            return asked, answered
    raise AddressVLMError(
        f"the chat template of the tokenizer cannot write a picture ({image}) and a question "
        f"{f'({errors[-1]})' if errors else ''}; give it another chat_template.jinja"
    )


def _piece(text: str, tokenizer: PreTrainedTokenizerBase) -> Piece:
    """Control tokens in a text as ids; one that swallows the blanks beside it takes them along."""
    control = tokenizer.added_tokens_decoder
    by_text = {token.content: (number, token) for number, token in control.items()}
    pattern = "|".join(re.escape(content) for content in sorted(by_text, key=len, reverse=True))
    piece: list[int | str] = []
    for part in re.split(f"({pattern})", text):
        if part not in by_text:
            if piece and isinstance(piece[-1], int) and control[piece[-1]].rstrip:
                part = part.lstrip()
            piece += [part] if part else []
            continue
        number, token = by_text[part]
        if token.lstrip and piece and isinstance(piece[-1], str):
            stripped = piece.pop()
            assert isinstance(stripped, str)
            piece += [stripped.rstrip()] if stripped.rstrip() else []
        piece.append(number)
    return tuple(piece)


def _with_bos(opening: Piece, tokenizer: PreTrainedTokenizerBase) -> Piece:
    """The beginning of text in front where the tokenizer itself would put it."""
    bos = tokenizer.bos_token_id
    if bos is None or opening[:1] == (bos,):
        return opening
    own = tokenizer("x").input_ids[:1] == [bos]
    return (bos, *opening) if own else opening
