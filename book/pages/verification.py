"""How everything is checked: the referees, what they were set on, and how much of it there is, counted."""

import ast
import runpy
from collections import Counter

import sources

from pruning import ledger
from pruning.ledger.core import MARGIN, VERDICTS, Formula, Statement

TABLE = """\
| claim | referee | tolerance |
| --- | --- | --- |
| all gradients, dE/dx too | PyTorch's autograd *through our own forward*; complex step | 1e-12 |
| `rule="exact"`, every layer of 22 nets | `torch.func.hessian`; complex step of our backprop | 1e-12 |
| `rule="obd"` where it is exact (last two weight layers for squared error, last one for softmax) | the same | 1e-12 |
| `rule="obd"` elsewhere | a matrix recursion that imports nothing from `nn`; and shown *not* to be the Hessian | 1e-12 |
| convolution on 300 random cases (strides beyond the kernel, dilation, groups, asymmetric padding) | PyTorch; `scipy.signal` | 1e-12 |
| curvature of shared weights | the recursion on the untied, dense net; and shown *not* to be the tied Hessian | 1e-12 |
| counts: all 40 printed MACs, weights and reductions of Li et al. 2017, Table 1; LeNet of 1990: 2,578 and 98,442 | the printed ones: 35 equal ours rounded, 4 truncated, 1 differs by 0.09 points | exact |
| the lasso, ten thousand problems, most of them degenerate (`make fuzz`) | duality gap, relative to the mean of y squared | 1e-9 (largest found 5e-13) |
| the group lasso, ten thousand; the path, two thousand (`make fuzz`) | gap; violation of the optimality conditions | 1e-9 |
| the lasso's path on the diabetes and prostate data | published kinks | to the printed digits |
| `rule="ggn"` on convolutional ReLU and max-pool nets; Hessian-vector products by the R-operator, every layer | `torch.func.hessian`; jvp of the gradient | 1e-12 |
| Optimal Brain Surgeon: update, downdate, block, least-squares refit | the KKT system; a new inverse; `lstsq` | 1e-10 |
| a net without its pruned channels against the masked one, both sweeps, 200 random nets and every architecture | the masked net | 1e-12 |
| ADMM's projections; its fixed points with convex sets | brute force; the exact solvers | exact; 1e-8 |
| optimizers, ten steps with a changing rate | `torch.optim` | 1e-12 |
| the same code on NumPy, torch tensors, array-api-strict on a second device | NumPy | 1e-12 |
| masks: exact counts under ties, dead weights stay dead | property tests (hypothesis) | exact |
| a killed training run or sweep, started again | the uninterrupted one | to the bit |
"""  # noqa: E501
"""What is judged, claim by claim."""


def page() -> str:
    """Return the page; all counts are taken from the ledger and the tests as they are."""
    statements = ledger.STATEMENTS
    wrong = sum(len(each.wrong) for each in statements if isinstance(each, Formula))
    formulas = sum(isinstance(each, Formula) for each in statements)
    verdicts = Counter(each.verdict for each in statements)
    functions, files = tests()
    out = [
        "(verification)=\n# How it is checked\n",
        "1. **No referee shares code with what it judges.** Derivatives are judged by the complex step and by autograd"
        " through our own forward pass, minimizers by their optimality conditions, counts by what was printed.\n"
        "2. **Every formula stands on trial with its usual mistakes.** A statement passes if the right form agrees with"
        " its referee and every wrong form is caught.\n"
        "3. **The code is broken on purpose.** A factor 2, a sign, a square: the row that names the code has to fail.\n"
        "4. **Every comparison has a control and a paired spread.** A difference within its standard error (on the"
        " [page of results](results.md) within two) is called unresolved.\n"
        "5. **Numbers in prose are tested** against the cell above them or against the records.\n",
        "## Counted\n",
        f"* **{len(statements)} statements** of the sources stand in the [ledger](ledger.md): {formulas} formulas with"
        f" {wrong} wrong forms, and {len(statements) - formulas} claims (recursions, counts, equal nets),"
        " whose wrong forms the ledger page counts when it runs them.",
        f"* Right and wrong forms keep a distance of a factor {MARGIN} from their tolerance over twenty seeds, and"
        f" **{mutants()} mutants** of the code are run against their rows: `make proofs`.",
        f"* **{functions:,} test functions** in {files} files, many of them over a list of cases: `make check`.",
        f"* What became of the statements as they are printed: {shares(verdicts)}.",
        f"* {judges(statements)}\n",
        "## What is judged, by whom, and how closely\n",
        TABLE,
        "## Where to look\n",
        "[Notebook 00](#nb00) derives the referees, and shows what each cannot see. `python -m pruning verify"
        " S0-F6` puts one statement on trial before your eyes; `nn.verify` does it with a layer of your own.",
    ]
    return "\n".join(out) + "\n"


def shares(verdicts: Counter[str]) -> str:
    """Return the verdicts with their numbers, as words."""
    return ", ".join(f"{verdicts[verdict]} {meaning}" for verdict, meaning in VERDICTS.items() if verdicts[verdict])


def judges(statements: tuple[Statement, ...]) -> str:
    """Return how many formulas the complex step judges, and how many autograd judges as well."""
    names = [[referee.name for referee in each.referees] for each in statements if isinstance(each, Formula)]
    steps = sum(any("complex step" in name for name in each) for each in names)
    graph = sum(any("torch" in name or "autograd" in name for name in each) for each in names)
    return (
        f"The complex step judges {steps} of the formulas, and autograd {graph}, where torch is installed; the"
        " others are judged by loops, by whatever was tried case by case, by optimality conditions, by exact fractions."
    )


def tests() -> tuple[int, int]:
    """Return the number of test functions, and of files that have them."""
    found = []
    for path in (sources.ROOT / "tests").rglob("test_*.py"):
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        found.append(sum(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in nodes))
    return sum(found), sum(count > 0 for count in found)


def mutants() -> int:
    """Return the number of ways in which the code behind the ledger is broken on purpose."""
    paths = (sources.ROOT / "tests" / "fuzz" / "mutants").glob("*.py")
    return sum(len(runpy.run_path(str(path))["MUTANTS"]) for path in paths)
