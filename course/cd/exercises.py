"""Coordinate descent: five exercises and a target.  Nothing here is handed out."""

from course.cd.certificates import GAP, LARGEST
from course.cd.path import FIRST
from course.cd.steps import STEP, SWEEP
from course.cd.target import TARGET
from course.spec import ProblemSet

SET = ProblemSet("cd", "One coefficient at a time", (STEP, SWEEP, LARGEST, GAP, FIRST), TARGET)
