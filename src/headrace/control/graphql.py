"""MLflow's pages ask some things by GraphQL. All that is let through reads."""

from __future__ import annotations

from typing import Any, Final

#: MLflow declares its searches as mutations.
_SEARCHES: Final = {"mlflowSearchRuns", "mlflowSearchDatasets"}


def only_reads(arguments: dict[str, Any]) -> bool:
    """Whether every operation of a request is a query, or a search."""
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
    from graphql.language import FieldNode

    try:
        document = parse(str(arguments.get("query", "")), max_tokens=10_000)
    except (GraphQLError, RecursionError):
        return False
    for definition in document.definitions:
        if not isinstance(definition, OperationDefinitionNode):
            continue
        if definition.operation is OperationType.QUERY:
            continue
        for field in definition.selection_set.selections:
            if not isinstance(field, FieldNode) or field.name.value not in _SEARCHES:
                return False
    return True
