"""Pictures that leave the house: nothing but pixels and whom to name for them."""

import re
from pathlib import Path

from addressvlm.errors import AddressVLMError
from addressvlm.imagery.opening import jpeg, jpeg_comment, open_image

_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_APPS, _COMMENT = range(0xE0, 0xF0), 0xFE
_JFIF, _ADOBE = 0xE0, 0xEE
# Within a scan 0xFF is followed by 0 or a restart marker; whatever else comes ends the scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")


def clean_picture(path: Path, rights: str = "") -> bytes:
    """The bytes of a picture as JPEG without EXIF, GPS, or anything behind its end.

    Its only comment is `rights`, if that is not empty. A JPEG that holds nothing else comes back byte for
    byte; any other is decoded and written anew, upright. Raises `AddressVLMError` for what is no readable
    picture.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AddressVLMError(f"{path} cannot be opened: {error.strerror or error}") from error
    return content if holds_only_pixels(content, rights) else jpeg(open_image(path), rights)


def holds_only_pixels(content: bytes, rights: str = "") -> bool:
    """Whether these are the bytes of a JPEG of one scan in which every segment is needed for its pixels.

    But for one comment, which must be there and say `rights` unless that is empty.
    """
    comments = [jpeg_comment(rights)] if rights else []
    if content[:2] != _START:
        return False
    at = 2
    while at + 4 <= len(content):
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at] != 0xFF or length < 2:
            return False
        if marker == _SCAN:
            behind = _MARKER.search(content, at + 2 + length)
            return behind is not None and content[behind.start() :] == _END and not comments
        segment = content[at + 4 : at + 2 + length]
        if marker == _COMMENT and segment in comments:
            comments.remove(segment)
        elif marker == _COMMENT or (marker in _APPS and not _harmless(marker, segment)):
            return False
        at += 2 + length
    return False


def _harmless(marker: int, segment: bytes) -> bool:
    # A JFIF segment of more than 14 bytes carries a thumbnail.
    plain_jfif = marker == _JFIF and segment.startswith(b"JFIF\0") and len(segment) == 14
    return plain_jfif or (marker == _ADOBE and segment.startswith(b"Adobe") and len(segment) == 12)
