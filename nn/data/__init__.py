"""Data sets for the experiments: `load` them from disk, checked and with the batch last.

``nn.data.load("digits")`` works everywhere, for these 1,797 small images are part of the package.  The others are
looked for in a folder and never made up: ``python -m nn.data list`` says what is there, ``python -m nn.data fetch
NAME`` downloads.  No reader unpickles anything.  `augment` has the random crops and flips of the image experiments,
`text` makes numbers of characters.
"""

from nn.data import augment, fetch, text
from nn.data.images import DataSet, batch_last
from nn.data.load import content_sum, load
from nn.data.regression import RegressionSet

__all__ = ["DataSet", "RegressionSet", "augment", "batch_last", "content_sum", "fetch", "load", "text"]
