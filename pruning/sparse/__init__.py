"""What zeros save: sparse formats, small dense matrices, and a report that keeps four kinds of gain apart.

A layer is a product W X of its matrix W (filters in rows) with the columns X of its input.  Zeros in W save memory only
in a format that leaves them out, and time only if the product with that format beats the dense product, which does
several times more multiplications a second.  Where whole rows and columns are zero there is a third way: a smaller
dense matrix (`compact`).  And there are machines that skip zeros one by one: `accelerators` counts their cycles.

The slides "Exploring the granularity of sparsity that is hardware-friendly" and "Structured sparsity learning".
"""

from pruning.sparse.accelerators import Cycles, IndexBits, asynchronous, cambricon_x, cnvlutin, index_bits, lockstep
from pruning.sparse.formats import BSR, CSC, CSR, Compact
from pruning.sparse.savings import INSIDE, Report, Row, granularity_mask, kernels, machine, report

__all__ = [
    "BSR",
    "CSC",
    "CSR",
    "INSIDE",
    "Compact",
    "Cycles",
    "IndexBits",
    "Report",
    "Row",
    "asynchronous",
    "cambricon_x",
    "cnvlutin",
    "granularity_mask",
    "index_bits",
    "kernels",
    "lockstep",
    "machine",
    "report",
]
