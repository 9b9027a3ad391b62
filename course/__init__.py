"""Problem sets over the whole lecture, and the grader that marks them.

In the order of reading: `spec` (what an exercise is), a set such as `course.obd` (``exercises.py``, and ``master.py``
from which everything that is handed out is made), `release`, `submission` (the definitions in what a student hands in),
`worker` and `sandbox` (the process that runs them), `grade`, `report`, `selftest`, `nbgrader_export`.
"""

SETS = ("reg", "cd", "group", "back", "conv", "obd", "surgery", "select", "widths")
"""In the order of the lecture."""
