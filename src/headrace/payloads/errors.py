"""What can be wrong with a request, with the HTTP status each answers."""

from __future__ import annotations

from headrace.errors import HeadraceError


class ModelNotServableError(HeadraceError):
    """A model that cannot be put behind an endpoint."""

    code = "model_not_servable"

    def __init__(self, model: str, why: str, next: str | None = None) -> None:
        self.model = model
        super().__init__(f"{model} cannot be served.", where=model, why=why, next=next)


class MalformedRequestError(HeadraceError):
    """The body of a scoring request does not parse, or is no payload of its protocol."""

    code = "malformed_request"

    def __init__(self, why: str, where: str | None = None, next: str | None = None) -> None:
        super().__init__("The request cannot be read.", where=where, why=why, next=next)


class InvalidInputError(HeadraceError):
    """The payload parses, but its values do not fit the model's signature."""

    code = "invalid_input"

    def __init__(self, why: str, *, column: str | None = None, row: int | None = None) -> None:
        self.column, self.row = column, row
        place = f'column "{column}"' if column is not None else None
        if place and row is not None:
            place += f", row {row}"
        super().__init__("The input does not fit the model's signature.", where=place, why=why)


class UnsupportedMediaTypeError(HeadraceError):
    """A content type that no codec reads."""

    code = "unsupported_media_type"
    status = 415

    def __init__(self, content_type: str, why: str | None = None, next: str | None = None) -> None:
        self.content_type = content_type
        super().__init__(
            f'Content type "{content_type}" is not supported.',
            why=why,
            next=next or "send application/json or text/csv in UTF-8, Arrow IPC or Parquet",
        )
