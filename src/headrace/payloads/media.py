"""Media types of requests, and which one an answer has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.payloads.errors import UnsupportedMediaTypeError


def media_of(headers: Mapping[str, str]) -> str:
    """The media type of a body in lower case, without its parameters; empty where it is not said.

    Raises:
        UnsupportedMediaTypeError: the body is compressed as a whole.
    """
    coding = headers.get("content-encoding")
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            headers.get("content-type", ""),
            f"the content encoding {coding} is not read",
            "send the body as it is; Arrow and Parquet compress their own columns",
        )
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type that an ``Accept`` header likes best; ``None`` where it likes none.

    Of equals the first that is offered, and without a header too. See RFC 9110, section 12.5.1.
    """
    if not accept or accept == "*/*":
        return offered[0]
    weights = dict(_weighted(part) for part in accept.lower().split(","))
    best: tuple[float, str | None] = (0.0, None)
    for media in offered:
        wide = media.partition("/")[0] + "/*"
        weight = weights.get(media, weights.get(wide, weights.get("*/*", 0.0)))
        if weight > best[0]:
            best = (weight, media)
    return best[1]


def _weighted(part: str) -> tuple[str, float]:
    media, *parameters = [piece.strip() for piece in part.split(";")]
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return media, 0.0
    return media, 1.0
