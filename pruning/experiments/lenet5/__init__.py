"""The record of LeNet-5: `cells`, which go through `stages` by `recipes`; `sets` of ADMM; the `bank` of a teacher.

Both experiments of it, `lenet_record` and `admm_lenet5`, are tables of such cells.
"""
