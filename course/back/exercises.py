"""Backprop by hand: five exercises and a target.  Nothing here is handed out."""

from course.back.formulas import LOSS, SWISH
from course.back.layers import GATED, NORM
from course.back.referees import REFEREE
from course.back.target import TARGET
from course.spec import ProblemSet

SET = ProblemSet("back", "Backprop, and how to doubt it", (SWISH, LOSS, NORM, GATED, REFEREE), TARGET)
