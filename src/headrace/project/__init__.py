"""A project: its file, its plan, and the run that makes the plan so.

``open_project`` reads ``headrace.yaml`` and the pipeline's graph, ``build`` makes a plan,
``apply`` carries it out.
"""

from __future__ import annotations

from headrace.project.apply import Observer as Observer
from headrace.project.apply import Outcome as Outcome
from headrace.project.apply import Run as Run
from headrace.project.apply import apply as apply
from headrace.project.config import Project as Project
from headrace.project.config import load_project as load_project
from headrace.project.init import init as init
from headrace.project.plan import Desired as Desired
from headrace.project.plan import Plan as Plan
from headrace.project.plan import Step as Step
from headrace.project.plan import build as build
from headrace.project.plan import narrow as narrow
from headrace.project.plan import open_project as open_project
