"""What one Spark session remembers on this side of the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.catalog import Catalog, Entry, Lineage, TableName
from headrace.engine.files import FORMATS

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation

    from headrace.settings import Paths

GLOBAL_TEMP = "global_temp"


@dataclass
class SessionState:
    """The session's temporary views, functions and current schema.

    Temporary views live here and not on the server, so that lineage flows through them and
    each use reads the versions of that moment.

    Attributes:
        id: identifier of the session in the lineage.
        temp_views: by lower-case name; global ones as ``global_temp.name``.
        functions: model URIs inside registered Python functions, by lower-case name.
    """

    paths: Paths
    catalog: Catalog
    lineage: Lineage
    id: str
    current_catalog: str = "main"
    current_schema: str = "default"
    temp_views: dict[str, Relation] = field(default_factory=dict)
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def qualified(self, parts: tuple[str, ...]) -> TableName:
        """The full name that a name as written stands for now.

        Raises:
            InvalidNameError: it cannot be a name.
        """
        text = ".".join(f"`{part}`" for part in parts)
        return TableName.parse(text, catalog=self.current_catalog, schema=self.current_schema)

    def resolve(self, parts: tuple[str, ...]) -> Entry:
        """The table or view of the catalog.

        Raises:
            TableNotFoundError: there is none; the error names it as it was written.
        """
        name = self.qualified(parts)
        found = self.catalog.find(name)
        return found if found is not None else self.catalog.resolve(_spelling(parts, name))

    def is_bare_path(self, parts: tuple[str, ...]) -> bool:
        """Whether a name that is no table can be a format and a path, such as ``json.events``."""
        return (
            len(parts) == 2
            and parts[0].lower() in FORMATS
            and self.catalog.find(self.qualified(parts)) is None
        )

    def temp_view(self, parts: tuple[str, ...]) -> Relation | None:
        """The relation behind a temporary view of that name."""
        return self.temp_views.get(".".join(parts).lower())


def _spelling(parts: tuple[str, ...], name: TableName) -> str:
    """What to resolve so that the error shows what was typed where that means the same."""
    typed = ".".join(parts)
    return typed if len(parts) > 1 and str(TableName.parse(typed)) == str(name) else str(name)
