"""What can go wrong with names and with the database that keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headrace.errors import HeadraceError, did_you_mean


class InvalidNameError(HeadraceError):
    """A table name breaks the rules for identifiers."""

    code = "invalid_name"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(
            f'"{name}" is not a table name.',
            why=reason,
            next="write schema.table or catalog.schema.table, such as gold.features",
        )


class TableNotFoundError(HeadraceError):
    """The catalog holds no table or view of that name."""

    code = "table_not_found"
    status = 404

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(
            f'There is no table or view "{name}".',
            why=did_you_mean(name, self.known),
            next="headrace status    # lists the tables",
        )


class NameTakenError(HeadraceError):
    """The name stands for something else already."""

    code = "name_taken"
    status = 409

    def __init__(self, name: str, kind: str, wanted: str) -> None:
        self.name = name
        self.kind = kind
        self.wanted = wanted
        super().__init__(
            f'"{name}" is a {kind} already; it cannot become a {wanted}.',
            next=f"DROP {kind.split()[0].upper()} {name}, or choose another name",
        )


class LocationTakenError(HeadraceError):
    """The directory belongs to another table."""

    code = "location_taken"
    status = 409

    def __init__(self, location: str, name: str, owner: str) -> None:
        self.location = location
        self.name = name
        self.owner = owner
        super().__init__(
            f'"{name}" cannot lie where "{owner}" lies.',
            where=location,
            next=f"read {owner}, or choose another directory",
        )


class DatabaseTooNewError(HeadraceError):
    """A newer Headrace has migrated the database."""

    code = "database_too_new"

    def __init__(self, url: str, number: int, known: int) -> None:
        self.url = url
        self.number = number
        self.known = known
        super().__init__(
            "The database was made by a newer version of Headrace.",
            where=url,
            why=f"it is at migration {number}, this version knows {known}",
            next="pip install --upgrade headrace",
        )


class DatabaseUnavailableError(HeadraceError):
    """The database cannot be opened."""

    code = "database_unavailable"
    status = 503

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(
            "The database cannot be opened.",
            where=url,
            why=reason,
            next="check the address in HEADRACE_DATABASE, the file's permissions and the free disk space",
        )


class RawFileError(HeadraceError):
    """A raw file cannot be read to take its checksum."""

    code = "raw_file_unreadable"

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            "A raw file cannot be read.",
            where=str(path),
            why=reason,
            next="restore the file, or take it out of the input directory",
        )
