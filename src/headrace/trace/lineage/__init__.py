"""The lineage of an object, both ways: what it came from, and what came from it.

::

    picture = lineage(open_workspace(), "gold.features")
    print_picture(picture)          # a tree
    svg(picture)                    # a drawing
"""

from __future__ import annotations

from headrace.trace.lineage.draw import draw as svg
from headrace.trace.lineage.mermaid import mermaid as mermaid
from headrace.trace.lineage.picture import Arrow as Arrow
from headrace.trace.lineage.picture import Box as Box
from headrace.trace.lineage.picture import Picture as Picture
from headrace.trace.lineage.subject import Subject as Subject
from headrace.trace.lineage.subject import find as find
from headrace.trace.lineage.surroundings import lineage as lineage
from headrace.trace.lineage.text import print_picture as print_picture

__all__ = [
    "Arrow",
    "Box",
    "Picture",
    "Subject",
    "find",
    "lineage",
    "mermaid",
    "print_picture",
    "svg",
]
