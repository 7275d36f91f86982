"""Two versions of a model side by side, for a person who decides.

::

    found = compare(workspace, resolve(workspace, "failure/3"), resolve(workspace, "failure/2"))
    found.error_slices.found         # where version 3 errs more
    page(found)                      # one HTML page, without anything from elsewhere
"""

from __future__ import annotations

from headrace.promotion.comparison.facts import Comparison as Comparison
from headrace.promotion.comparison.facts import compare as compare
from headrace.promotion.comparison.page import page as page

__all__ = ["Comparison", "compare", "page"]
