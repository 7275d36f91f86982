"""What can go wrong with a Delta table."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.clock import iso
from headrace.errors import HeadraceError


class NotADeltaTableError(HeadraceError):
    """There is no Delta log in the directory."""

    code = "not_a_delta_table"
    status = 404

    def __init__(self, location: str, reason: str) -> None:
        self.location = location
        self.reason = reason
        super().__init__(
            "This is no Delta table.",
            where=location,
            why=reason,
            next="check the path; a Delta table is a directory with a _delta_log in it",
        )


class VersionNotFoundError(HeadraceError):
    """The table has no such version, or can no longer show it."""

    code = "version_not_found"
    status = 404

    def __init__(self, location: str, version: int, first: int, last: int) -> None:
        self.location = location
        self.version = version
        self.first = first
        self.last = last
        super().__init__(
            f"The table has no version {version}.",
            where=location,
            why=f"its versions run from {first} to {last}",
            next=f"read a version from {first} to {last}",
        )


class TimestampOutOfRangeError(HeadraceError):
    """The moment lies before the first or after the last commit of the table."""

    code = "timestamp_out_of_range"
    status = 404

    def __init__(self, location: str, moment: datetime, first: datetime, last: datetime) -> None:
        self.location = location
        self.moment = moment
        self.first = first
        self.last = last
        side = "before the first" if moment < first else "after the last"
        super().__init__(
            f"{iso(moment)} is {side} commit of the table.",
            where=location,
            why=f"its commits run from {iso(first)} to {iso(last)}",
            next="read without a timestamp for the newest version, or at a moment in that range",
        )


class CorruptTableError(HeadraceError):
    """The log or a data file is missing, cut short or unreadable."""

    code = "corrupt_table"
    status = 500

    def __init__(self, location: str, reason: str) -> None:
        self.location = location
        self.reason = reason
        super().__init__(
            "The Delta table is damaged.",
            where=location,
            why=reason,
            next="restore the file from a backup, or read an earlier version: "
            "earlier versions do not need files that came later",
        )


class DeltaConflictError(HeadraceError):
    """Other writers got in between, and the commit was not made."""

    code = "delta_conflict"
    status = 409

    def __init__(self, location: str, operation: str, attempts: int, reason: str) -> None:
        self.location = location
        self.operation = operation
        self.attempts = attempts
        self.reason = reason
        times = "once" if attempts == 1 else f"{attempts} times"
        super().__init__(
            f"The {operation} was tried {times} and lost to other writers; nothing was written.",
            where=location,
            why=reason,
            next="run it again when the other writers are done",
        )


class TableSchemaError(HeadraceError):
    """The data does not fit the table's columns."""

    code = "table_schema"

    def __init__(self, location: str, reason: str) -> None:
        self.location = location
        self.reason = reason
        super().__init__(
            "The data does not fit the table; nothing was written.",
            where=location,
            why=reason,
            next="select the table's columns with their types, or overwrite the table with its "
            "schema (option overwriteSchema)",
        )


class DataFileError(HeadraceError):
    """A file that should become part of a table cannot."""

    code = "data_file"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            "A Parquet file cannot be taken into the table; nothing was committed.",
            where=path,
            why=reason,
            next="write the file again, and run this again",
        )


class StorageFullError(HeadraceError):
    """No space is left for data files or for the log."""

    code = "storage_full"
    status = 507

    def __init__(self, location: str, reason: str) -> None:
        self.location = location
        self.reason = reason
        super().__init__(
            "The disk is full; nothing was committed, and earlier versions are readable.",
            where=location,
            why=reason,
            next="free disk space, and run this again",
        )


class StorageError(HeadraceError):
    """The file system or the Delta library refused, for a reason of its own."""

    code = "storage"
    status = 500

    def __init__(self, location: str, reason: str) -> None:
        self.location = location
        self.reason = reason
        super().__init__(
            "The table cannot be read or written.",
            where=location,
            why=reason,
            next="check the permissions of the directory and the message above",
        )


class PredicateError(HeadraceError):
    """A column or filter does not fit the table that is read."""

    code = "predicate"

    def __init__(self, location: str, reason: str) -> None:
        self.location = location
        self.reason = reason
        super().__init__("The table cannot be read this way.", where=location, why=reason)


class RetentionTooShortError(HeadraceError):
    """Removing files this young would break time travel to versions that models came from."""

    code = "retention_too_short"

    def __init__(self, location: str, retention: timedelta, floor: timedelta) -> None:
        self.location = location
        self.retention = retention
        self.floor = floor
        super().__init__(
            f"A retention of {_days(retention)} is under the floor of {_days(floor)}.",
            where=location,
            why="readers and models still use versions that young",
            next=f"use {_days(floor)} or more; a dry run lists what would be removed: "
            f"lakehouse.vacuum(location, timedelta(days={floor.days}), dry_run=True)",
        )


class TableHeldError(HeadraceError):
    """A vacuum that does not know of the versions that models need."""

    code = "table_held"
    status = 409

    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(
            "Nothing was removed: models are pinned to versions of this table.",
            where=location,
            why="a vacuum by age would take files that the pinned versions need",
            next="headrace maintain removes the rest; headrace pins lists the pins",
        )


def _days(duration: timedelta) -> str:
    days = duration / timedelta(days=1)
    return f"{days:g} day" if days == 1 else f"{days:g} days"
