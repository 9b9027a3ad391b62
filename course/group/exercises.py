"""Group lasso and structured sparsity: five exercises and a target.  Nothing here is handed out."""

from course.group.blocks import BLOCK, SHRINK
from course.group.entering import LAMBDA_MAX
from course.group.groups import SPARSE_GROUPS
from course.group.step import STEP
from course.group.target import TARGET
from course.spec import ProblemSet

SET = ProblemSet("group", "Weights that go together", (SHRINK, BLOCK, SPARSE_GROUPS, LAMBDA_MAX, STEP), TARGET)
