"""Smaller nets: channels, columns and blocks are really removed, and what is left computes the same function.

A mask leaves the arithmetic as it was: a net with nine tenths of its weights at zero is as large and as slow as before.
Here the rows and columns of the pruned channels leave every array in which they stand, and what comes out is an
ordinary net: it has no masks of its own, trains on, and is saved and loaded by `nn.checkpoint`, sizes included.

========================  ============================================================================================
`preview`                 what `remove` would take, as text
`remove`                  filters and units, with everything that belongs to them (`pruning.channels`)
`remove_columns`          columns of the matrix product: kernel positions, input pixels, single inputs of a unit
`remove_blocks`           whole residual blocks, of which the shortcut stays
`fold_constants`          what dead channels still emit, moved into the layers that read it
`fold_batchnorm`          batch norm, moved into the layer in front of it
`fold_scales`             factors of blocks and channels, moved into the layer in front of them
`harden`                  random gates, which become factors of the weights around them
`remove_unused_paths`     whatever a sparse net does not need, to a fixed point
`purify`                  masks for what a sparse net still carries along: no surgery yet
`duplicate`               the net again, with nothing cut
========================  ============================================================================================

Every function returns a new net and leaves the one that it was given alone.  `preview`, `remove`, `remove_columns`,
`remove_blocks` and `duplicate` take outlines too.

In the order of reading: `cuts` (what goes with what, and what cannot be cut), `resizing` (a net built again with fewer
rows and columns), `removal` (the first functions of the table), `previewing`; then `constants` (which channels are the
same whatever the input, and what they emit), `folding`, `hardening`, `unused_paths`; on its own `purification`.

Li et al. 2017, section 2; Wen et al. 2016; the slides on structured pruning.
"""

from pruning.surgery.folding import fold_batchnorm, fold_constants, fold_scales
from pruning.surgery.hardening import harden
from pruning.surgery.previewing import preview
from pruning.surgery.purification import Thresholds, purify
from pruning.surgery.removal import remove, remove_blocks, remove_columns, used_columns
from pruning.surgery.resizing import duplicate
from pruning.surgery.unused_paths import remove_unused_paths

__all__ = [
    "Thresholds",
    "duplicate",
    "fold_batchnorm",
    "fold_constants",
    "fold_scales",
    "harden",
    "preview",
    "purify",
    "remove",
    "remove_blocks",
    "remove_columns",
    "remove_unused_paths",
    "used_columns",
]
