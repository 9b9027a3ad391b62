"""Convolution: five exercises and a target.  Nothing here is handed out."""

from course.conv.depthwise import BACKWARD, HESSIAN
from course.conv.pools import POOL
from course.conv.target import TARGET
from course.conv.windows import COLUMNS, IMAGE
from course.spec import ProblemSet

SET = ProblemSet("conv", "One kernel, many windows", (COLUMNS, IMAGE, BACKWARD, HESSIAN, POOL), TARGET)
