"""Optimal Brain Damage and Optimal Brain Surgeon: six exercises and a target.  Nothing here is handed out."""

from course.obd.damage import PAIR, SALIENCY
from course.obd.recursion import BOUNDARY, LAYER
from course.obd.surgeon import BLOCK, GREEDY
from course.obd.target import TARGET
from course.spec import ProblemSet

SET = ProblemSet("obd", "What a weight is worth", (BOUNDARY, LAYER, SALIENCY, PAIR, BLOCK, GREEDY), TARGET)
