# %% [markdown]
# # Problem set: weights that go together
#
# A single zero in a weight matrix saves nothing in a dense product. A row of zeros does: the row can be cut out. So
# coefficients have to live or die in groups, and one small change of the lasso's penalty does that: a norm that is
# not squared. What follows from this change is less small. A block has no closed form any more, unless its columns are
# orthonormal; the step of a net needs another threshold as soon as there is momentum. Here you derive and write both,
# in forms that differ a little from those of the lecture. In the end you find the few groups that matter among many,
# in data that you get with the key.
#
# **You need** notebooks 06 and 12, about two and a half hours for the exercises and one for the target, and NumPy.
# Exercises group.1 to group.4 need no notebook after 06.
#
# **The rules.** In regressions the samples are rows: `X` is $(n, p)$, `y` is $(n,)$. $\lVert\cdot\rVert$ is the 2-norm,
# not squared. Below every exercise, `check` compares with numbers that lie beside this file. Grading uses more cases
# with other numbers and sizes; the text names them. It runs your *definitions* (imports, functions, constants) of all
# cells in order, and nothing else: do not rely on what a scratch cell has computed. `nn`, `pruning` and `textbook` do
# not exist when your functions are graded. Keep the names of functions and of their arguments, return arrays (no lists)
# where a shape is given, and change no argument.

# %%
import matplotlib.pyplot as plt
import numpy as np
from check import check

# %% [markdown]
# ## Exercise group.1 (4 points, 15 minutes): a block and its decay
#
# The slide's objective has a plain regulariser $\lambda R(W)$ beside the norms of the groups. Let it be weight decay.
# Then the step of a block is the nearest point under both:
# $$\min_x\; \tfrac12\lVert x - w\rVert^2 + t\lVert x\rVert + \tfrac{\mu}{2}\lVert x\rVert^2 .$$
#
# (a) For which $w$ is $x = 0$? (b) Derive $x$ for all others. (c) Write it for a matrix `W` $(p, N)$ whose **columns**
# are the blocks, and numbers `t` $> 0$ and `mu` $\ge 0$.
#
# *Graded:* three columns without decay (1 point, the check has it); with decay (2); a column of zeros, and one of the
# length $t$ (1). *Hint:* look at $x = 0$ apart from all other $x$.


# %% exercise="group.1"
def block_soft(W, t, mu):
    """Return the nearest points to the columns of W, shape (p, N)."""
    ### BEGIN SOLUTION
    size = np.linalg.norm(W, axis=0)
    alive = size > t
    factor = np.where(alive, 1 - t / np.where(alive, size, 1), 0)
    return factor / (1 + mu) * W
    ### END SOLUTION


# %%
check("group.1", block_soft)

# %% [markdown]
# **Be your own referee.** No other point may have a lower objective. Here are 100 000 others, near and far.

# %%
rng = np.random.default_rng(0)
w, t, mu = np.array([[1.5], [-2.0]]), 1.0, 0.5
trial = w + rng.standard_normal((2, 100_000)) * rng.uniform(0, 3, 100_000)
try:
    points = np.hstack([block_soft(w, t, mu), trial])
    size = np.linalg.norm(points, axis=0)
    value = np.sum((points - w) ** 2, axis=0) / 2 + t * size + mu / 2 * size**2
    print(f"lowest of the others above yours: {min(value[1:]) - value[0]:.1e}, should be above 0")
except NotImplementedError:
    print("group.1 is not written yet")

# %% [markdown]
# ## Exercise group.2 (5 points, 45 minutes): one block, whose samples count differently
#
# All other groups are held fixed, and `r` is what they leave. Sample $i$ counts $v_i > 0$ times. In the slide's scale,
# without a half and without $1/n$, the block is
# $$\min_b\; \sum_i v_i\,(r_i - x_i^\top b)^2 + \lambda\lVert b\rVert .$$
# The columns of `X` $(n, p)$ are as they are. They need not be orthonormal, and may depend on each other.
#
# (a) When is $b = 0$? (b) Otherwise, show that $b$ solves a ridge regression whose penalty depends on
# $s = \lVert b\rVert$. (c) Rotate to the eigenvectors of $X^\top VX$, $V = \mathrm{diag}(v)$. One equation for $s$ is
# left: which, and does it have one root? (d) Write it, for `r` and `v` of shape $(n,)$ and `lam` $> 0$. Bisection is
# good enough, if it starts from two ends that are sure and goes on to rounding error.
#
# *Graded, 1 point each:* orthonormal columns and equal weights (the check has it); any columns and any weights; columns
# that depend on each other; one column; a block that is zero. *Hint:* which $s$ gives a $b$ of the length $s$?


# %% exercise="group.2"
def block_update(X, r, v, lam):
    """Return b, shape (p,)."""
    ### BEGIN SOLUTION
    d, V = np.linalg.eigh(2 * (X.T * v) @ X)
    z = V.T @ (2 * (X.T * v) @ r)
    if np.linalg.norm(z) <= lam:
        return np.zeros(len(z))
    low, high = 0.0, 1.0
    while np.linalg.norm(z / (d * high + lam)) > 1:
        high *= 2
    for _ in range(100):
        s = (low + high) / 2
        low, high = (s, high) if np.linalg.norm(z / (d * s + lam)) > 1 else (low, s)
    return V @ (z * low / (d * low + lam))
    ### END SOLUTION


# %%
check("group.2", block_update)

# %% [markdown]
# **Be your own referee.** The slope of the objective has to be zero at $b \ne 0$. That needs no root.

# %%
rng = np.random.default_rng(1)
X, r, v = rng.standard_normal((9, 3)) * [1, 5, 0.2], rng.standard_normal(9), rng.uniform(0.2, 3, 9)
try:
    b = block_update(X, r, v, 2.0)
    slope = -2 * X.T @ (v * (r - X @ b)) + 2.0 * b / (np.linalg.norm(b) or 1.0)
    print(f"slope: {np.abs(slope).max():.0e}, should be below 1e-12")
except NotImplementedError:
    print("group.2 is not written yet")

# %% [markdown]
# ## Exercise group.3 (5 points, 35 minutes): groups of groups, and nothing below zero
#
# Scaling factors and gates are not negative. Let $x \ge 0$ hold single coefficients *and* groups that are to vanish:
# $$\min_{x \ge 0}\; \tfrac12\lVert x - w\rVert^2 + \mu\sum_i x_i + \sum_g \lambda_g\lVert x_g\rVert .$$
# Two groups have no member in common, or one lies inside the other. Each has its own $\lambda_g > 0$; there is no root
# of a size beside it.
#
# (a) Let there be no groups. What is $x$? (b) Now one group. Show that it may be shrunk after (a), and not before: at
# which point are the subgradients of the single coefficients taken? (c) Now a group inside another one. Which goes
# first? (d) Write it, for `w` $(p,)$, a list `groups` of index arrays **in any order**, `lam` with one number a group,
# and the number `mu`.
#
# *Graded:* two groups, $w > 0$ (1 point, the check has it); $w$ of either sign (2); nested groups (1); groups that are
# zero or end there (1). *Hint:* $0$ has to be in $x - w$ plus the subgradients of all penalties *at $x$*.


# %% exercise="group.3"
def sparse_group_prox(w, groups, lam, mu):
    """Return x, shape (p,), not below zero."""
    ### BEGIN SOLUTION
    x = np.maximum(w - mu, 0)
    for k in sorted(range(len(groups)), key=lambda k: len(groups[k])):
        size = np.linalg.norm(x[groups[k]])
        x[groups[k]] *= 1 - lam[k] / size if size > lam[k] else 0
    return x
    ### END SOLUTION


# %%
check("group.3", sparse_group_prox)

# %% [markdown]
# **A picture.** For one group of two, which points $w$ end where? Black: both coefficients stay. Grey: one of them
# stays. White: none.

# %%
grid = np.linspace(-1, 3, 61)
one, lam = [np.arange(2)], np.ones(1)
try:
    rows = [[sparse_group_prox(np.array([a, b]), one, lam, 0.5) for a in grid] for b in grid]
    count = np.sum(np.array(rows) > 0, axis=2)
    plt.imshow(count, extent=(-1, 3, -1, 3), origin="lower", cmap="Greys")
    plt.xlabel("$w_1$")
    plt.ylabel("$w_2$")
    plt.show()
except NotImplementedError:
    print("group.3 is not written yet")

# %% [markdown]
# ## Exercise group.4 (4 points, 25 minutes): where the first group enters
#
# $$F(\beta) = \frac1{2n}\lVert y - X\beta\rVert^2 + \lambda\sum_g w_g\lVert\beta_g\rVert$$
# Some groups must not be shrunk: a constant, the age of a patient. They have $w_g = 0$. All others have $w_g > 0$.
#
# (a) What is $\beta$ if $\lambda$ is very large? (b) Write the zero condition of a penalised group there. (c) Return
# the smallest $\lambda$ at which all penalised groups are zero, for `X` $(n, p)$, `y` $(n,)$, a list `groups` of index
# arrays and `w` with one number a group. Every column is in one group.
#
# *Graded:* a pair and a single column (1 point, the check has it); unequal sizes, and a group that is free (2); two
# free groups whose columns depend on each other (1).


# %% exercise="group.4"
def weighted_lambda_max(X, y, groups, w):
    """Return the smallest lambda, a number."""
    ### BEGIN SOLUTION
    r = y
    free = [g for g, weight in zip(groups, w) if weight == 0]
    if free:
        U = X[:, np.concatenate(free)]
        r = y - U @ np.linalg.lstsq(U, y, rcond=1e-10)[0]
    others = [(g, weight) for g, weight in zip(groups, w) if weight > 0]
    return max(np.linalg.norm(X[:, g].T @ r) / weight for g, weight in others) / len(y)
    ### END SOLUTION


# %%
check("group.4", weighted_lambda_max)

# %% [markdown]
# ## Exercise group.5 (4 points, 30 minutes): a step of training
#
# A convolution has the filters `W[o]`, shape of `W` $(O, C, K_H, K_W)$. The loss has the gradient `g`. Many programs
# have momentum with *damping* $\tau$:
# $$v \leftarrow \mu v + (1 - \tau)\,g, \qquad W \leftarrow W - \eta v .$$
# For $\tau = 0$ it is the momentum of notebook 12, for $\tau = \mu$ an average of gradients. After each step every
# filter is shrunk as a block, with one threshold $t$ for all. Training should end where it has to,
# $$0 \in \nabla E + \lambda\,\partial\lVert W_o\rVert \quad\text{for every filter.}$$
#
# (a) Let $g$ be constant. Where does $v$ settle, and how far does $W$ go in a step? (b) At the end the shrinking takes
# back all of that. Which $t$ does it need? (c) Write one step: return the new `W` and the new `v`. `v` belongs to the
# loss alone; the shrinking does not change it. A filter that is zero, with no velocity and no gradient, stays zero.
#
# *Graded:* no momentum and no gradient (1 point, the check has it); momentum and damping (2); filters that are gone
# (1).


# %% exercise="group.5"
def ssl_step(W, g, v, lr, mu, tau, lam):
    """Return (new W, new v), both (O, C, KH, KW)."""
    ### BEGIN SOLUTION
    v = mu * v + (1 - tau) * g
    U = W - lr * v
    size = np.sqrt(np.sum(U * U, axis=(1, 2, 3), keepdims=True))
    t = lr * lam * (1 - tau) / (1 - mu)
    return U * np.where(size > t, 1 - t / np.where(size > t, size, 1), 0), v
    ### END SOLUTION


# %%
check("group.5", ssl_step)

# %% [markdown]
# **Be your own referee.** $E = \frac12\lVert W - A\rVert^2$ and three filters: train, and look at the slope where the
# training ends. A filter whose target is shorter than $\lambda$ should be zero.

# %%
rng = np.random.default_rng(2)
A, lam = rng.standard_normal((3, 2, 1, 1)) * np.array([0.1, 2, 3])[:, None, None, None], 0.8
W, v = np.ones(A.shape), np.zeros(A.shape)
try:
    for _ in range(800):
        W, v = ssl_step(W, W - A, v, 0.1, 0.8, 0.5, lam)
    size = np.linalg.norm(W, axis=1, keepdims=True)
    slope = (W - A + lam * W / np.where(size > 0, size, 1))[size[:, 0, 0, 0] > 0]
    print(f"zero filters: {np.sum(size == 0)}, should be 1")
    print(f"slope elsewhere: {np.abs(slope).max():.0e}, should be below 1e-12")
except NotImplementedError:
    print("group.5 is not written yet")
# %% [markdown]
# ## Target: the few groups that matter (10 points, 60 minutes)
#
# You get 250 rows `X` $(250, p)$ with about 500 columns in 80 groups, `y` $(250,)$, the list `groups` of index arrays
# and the number `k` $= 6$. Six of the groups have made $y$, with noise on top. Return `beta` $(p,)$ in which **at most
# `k` groups are not zero**. There is no constant to fit. The judge has 2000 more rows.
#
# **The goal:** the mean squared error on these rows is at most 1.2 times that of least squares on the right six
# groups, which is what one gets who knows them.
#
# It is not easy on purpose. Every group is measured in a unit of its own. The groups are of different sizes. They share
# some factors, and each of the six has look-alikes. So the six groups that correlate most with $y$ are not the right
# six, and neither are the six longest of least squares nor those that a lasso of single coefficients takes first:
# fitted anew, each of these misses the goal by far. The lecturer's key decides the data. Your function may take 20
# seconds.
#
# Some questions on the way: in which unit should a column be penalised, and with which weight a group? The group lasso
# shrinks, so that the first six groups to enter are often not the right six. How many should you look at? And if you
# have too many groups, but few enough for least squares, which one is the cheapest to delete, and the next?


# %% exercise="group.target"
def candidates(X, y, groups, number):
    """Return the groups that are active where the path has `number` of them, if you want that."""
    ### BEGIN SOLUTION
    owner = np.zeros(X.shape[1], int)
    for j, g in enumerate(groups):
        owner[g] = j
    w, step = np.sqrt(np.bincount(owner)), 1 / np.linalg.norm(X, 2) ** 2
    beta = np.zeros(len(owner))
    lam = np.max(np.sqrt(np.bincount(owner, (X.T @ y) ** 2)) / w)
    while np.count_nonzero(np.bincount(owner, beta**2)) < number:
        lam *= 0.85
        for _ in range(100):  # proximal steps
            v = beta + step * X.T @ (y - X @ beta)
            size = np.maximum(np.sqrt(np.bincount(owner, v**2)), 1e-300)
            beta = v * np.maximum(1 - step * lam * w / size, 0)[owner]
    return np.flatnonzero(np.bincount(owner, beta**2))
    ### END SOLUTION


def refit(X, y, groups, chosen):
    """Return the coefficients of least squares on the chosen groups, zeros elsewhere."""
    ### BEGIN SOLUTION
    columns, beta = np.concatenate([groups[j] for j in chosen]), np.zeros(X.shape[1])
    beta[columns] = np.linalg.lstsq(X[:, columns], y, rcond=None)[0]
    return beta
    ### END SOLUTION


def few_groups(X, y, groups, k):
    """Return beta, shape (p,), with at most k groups that are not zero."""
    ### BEGIN SOLUTION
    chosen = list(candidates(X / np.linalg.norm(X, axis=0), y, groups, 3 * k))
    while len(chosen) > k:  # the cheapest goes, all others answer
        rests = [[j for j in chosen if j != gone] for gone in chosen]
        loss = [np.sum((y - X @ refit(X, y, groups, rest)) ** 2) for rest in rests]
        chosen = rests[int(np.argmin(loss))]
    return refit(X, y, groups, chosen)
    ### END SOLUTION


# %% [markdown]
# There is no check for the target. Try your function on data of your own, an easier kind: groups of four, no units, no
# look-alikes.

# %%
rng = np.random.default_rng(3)
X, beta = rng.standard_normal((2250, 240)), np.zeros(240)
groups = np.split(np.arange(240), 60)
beta[:24] = rng.choice([-0.5, 0.5], 24)  # the first six groups
y = X @ beta + rng.standard_normal(2250)
try:
    own = few_groups(X[:250], y[:250], groups, 6)
    active = [j for j, g in enumerate(groups) if np.any(own[g])]
    known = np.linalg.lstsq(X[:250, :24], y[:250], rcond=None)[0]
    best = np.mean((y[250:] - X[250:, :24] @ known) ** 2)
    print(f"active groups: {active}, should be 0 to 5")
    error = np.mean((y[250:] - X[250:] @ own) ** 2)
    print(f"error: {error / best:.2f} times that of who knows them")
except NotImplementedError:
    print("the target is not written yet")
