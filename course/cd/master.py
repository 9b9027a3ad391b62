# %% [markdown]
# # Problem set: one coefficient at a time
#
# Minimising over many coefficients is hard, over one it is a line of code. Coordinate descent does the easy thing again
# and again. It is short, and easy to write nearly right: a step that is a little off often converges as well, to
# something else. So this set has two halves. In the first you write the step and the sweep. In the second you write
# what tells whether they have done their work: the $\lambda$ from which on everything is zero, and a bound of the
# distance to the minimum that needs no knowledge of the minimum. In the end you solve a problem with 2000 columns, and
# prove it.
#
# The lecture has the lasso, for columns with $x_j^\top x_j = n$. Here columns have any length, and the penalty has a
# square beside the corner, the **elastic net**:
# $$F(\beta) = \frac1{2n}\,\|y - X\beta\|^2 + \lambda\,\|\beta\|_1 + \frac\mu2\,\|\beta\|^2 .$$
# For $\mu = 0$ it is the lasso. $S(z, \lambda) = \operatorname{sign}(z)\max(|z| - \lambda, 0)$ is the soft threshold.
#
# **You need** notebooks 05 and 05b, about two and a half hours for the exercises and one for the target, and NumPy.
#
# **The rules.** Samples are rows here: `X` is $(n, p)$ with columns $x_j$, `y` is $(n,)$, `beta` is $(p,)$, and columns
# are counted from 0. Below every exercise, `check` compares with numbers that lie beside this file. Grading uses more
# cases with other numbers and sizes; the text names them. It runs your *definitions* (imports, functions, constants) of
# all cells in order, and nothing else: do not rely on what a scratch cell has computed. `nn`, `pruning` and `textbook`
# do not exist when your functions are graded. Keep the names of functions and of their arguments, return arrays (no
# lists) where a shape is given, and change no argument.

# %%
import matplotlib.pyplot as plt
import numpy as np
from check import check

# %% [markdown]
# ## Exercise cd.1 (5 points, 25 minutes): one coefficient
#
# Hold all coefficients but $\beta_j$ where they are, and call its new value $b$. Given is the residual
# $r = y - X\beta$ with the old $\beta_j$.
#
# (a) Write $F$ as a function of $b$ alone. Which number multiplies $b^2$, and which one $b$? (b) Where is its minimum?
# (c) Return it, a number. A column of zeros fits nothing: its coefficient becomes 0, also if $\mu = 0$.
#
# *Graded:* a column with $x_j^\top x_j = n$ (1 point, the check has it); other lengths and deleted coefficients (3);
# a column of zeros (1). *Hint:* the slide's step is that of $\mu = 0$ and $x_j^\top x_j = n$. Put both back in, and see
# where each belongs.


# %% exercise="cd.1"
def coordinate_step(X, r, beta, j, lam, mu):
    """Return the new value of beta[j], a number."""
    ### BEGIN SOLUTION
    x, n = X[:, j], len(r)
    a = x @ x / n
    if a == 0:
        return 0.0
    z = x @ r / n + a * beta[j]
    return np.sign(z) * max(abs(z) - lam, 0) / (a + mu)
    ### END SOLUTION


# %%
check("cd.1", coordinate_step)

# %% [markdown]
# **Be your own referee.** The minimum is where $F$ is lowest, whatever formula has found it. Try $b$ on a grid.

# %%
rng = np.random.default_rng(0)
X, old = 2 * rng.standard_normal((9, 3)), np.array([0.5, -1.0, 0.2])
y = X @ [0.3, 1.2, -0.4] + rng.standard_normal(9)
grid = np.linspace(-2, 2, 40001)
rest = y - X[:, [0, 2]] @ old[[0, 2]]
F = np.sum((rest[:, None] - np.outer(X[:, 1], grid)) ** 2, axis=0) / 18
F += 0.1 * abs(grid) + 0.7 * grid**2 / 2
try:
    b = coordinate_step(X, y - X @ old, old, 1, 0.1, 0.7)
    print(f"off by {abs(b - grid[np.argmin(F)]):.0e}, should be below 1e-04, the step of the grid")
except NotImplementedError:
    print("cd.1 is not written yet")

# %% [markdown]
# ## Exercise cd.2 (5 points, 30 minutes): a sweep
#
# Take the step of cd.1 for $j = 0, 1, \dots, p - 1$, in this order, once each. Every step sees what the steps before it
# have changed. Computing $y - X\beta$ anew for every $j$ costs $np$ multiplications a step; keep the residual instead,
# and change it by what one step changes.
#
# (a) How does $r$ change when $\beta_j$ does? (b) Return the new $\beta$, and the residual that belongs to it. Your
# sweep may call your `coordinate_step`. Then an error there counts here as well.
#
# *Graded:* two columns (1 point, the check has it); correlated columns (2); more columns than rows (1); one row and a
# column of zeros (1). *Hint:* is the $r$ that you return $y - X\beta$?


# %% exercise="cd.2"
def sweep(X, y, beta, lam, mu):
    """Return (the new beta of shape (p,), its residual of shape (n,))."""
    ### BEGIN SOLUTION
    beta, r = beta.copy(), y - X @ beta
    for j in range(len(beta)):
        b = coordinate_step(X, r, beta, j, lam, mu)
        r -= (b - beta[j]) * X[:, j]
        beta[j] = b
    return beta, r
    ### END SOLUTION


# %%
check("cd.2", sweep)

# %% [markdown]
# **Be your own referee.** Where sweeps end is known without a formula for the way: at the minimum of the elastic net,
# $\frac1n x_j^\top r - \mu\beta_j$ is $\lambda\operatorname{sign}(\beta_j)$ where $\beta_j \ne 0$, and lies between
# $-\lambda$ and $\lambda$ elsewhere. And $F$ never rises on the way.

# %%
rng = np.random.default_rng(1)
X, y, beta = rng.standard_normal((8, 12)), rng.standard_normal(8), np.zeros(12)
try:
    for _ in range(500):
        beta, r = sweep(X, y, beta, 0.1, 0.2)
    c, on = X.T @ r / 8 - 0.2 * beta, beta != 0
    print(f"residual: off by {np.max(abs(r - y + X @ beta)):.0e}, should be below 1e-12")
    print(f"slopes: off by {np.max(abs(c[on] - 0.1 * np.sign(beta[on]))):.0e}, below 1e-12")
    print(f"largest of the others: {np.max(abs(c[~on])):.3f}, should be at most 0.1")
except NotImplementedError:
    print("cd.1 or cd.2 is not written yet")

# %% [markdown]
# ## Exercise cd.3 (4 points, 25 minutes): from where on everything is zero
#
# A search over $\lambda$ has to begin somewhere. Now every coefficient has its own price, and $\mu = 0$:
# $$F(b_0, \beta) = \frac1{2n}\,\|y - b_0 - X\beta\|^2 + \lambda\sum_j w_j\,|\beta_j| , \qquad w_j \ge 0 .$$
# The constant $b_0$ costs nothing. It is there if `intercept` is True, and 0 if it is False. A column with $w_j = 0$
# costs nothing either: it is in the model at every $\lambda$.
#
# (a) Let all $w_j$ be positive and `intercept` False. From which $\lambda$ on is $\beta = 0$ the minimum? (b) What
# changes if there is a constant? (c) If there are columns with $w_j = 0$, with and without a constant? Return the
# smallest $\lambda$ at which **all coefficients with $w_j > 0$ are zero**, a number. At least one $w_j$ is positive.
#
# *Graded, 1 point each:* weights without a constant (the check has it); weights and a constant; columns that cost
# nothing; columns that cost nothing and a constant. *Hint:* at this $\lambda$ only the part that costs nothing is in
# the model, and it is at its best. `np.linalg.lstsq` finds it.


# %% exercise="cd.3"
def lambda_max(X, y, w, intercept):
    """Return the smallest lam at which all penalised coefficients are zero, a number."""
    ### BEGIN SOLUTION
    free = np.column_stack([X[:, w == 0], np.ones((len(y), int(intercept)))])
    r = y - free @ np.linalg.lstsq(free, y, rcond=None)[0]
    return np.max(abs(X[:, w > 0].T @ r) / (len(y) * w[w > 0]))
    ### END SOLUTION


# %%
check("cd.3", lambda_max)

# %% [markdown]
# **Be your own referee.** Just below your $\lambda$ one coefficient has to be there, just above it none. If all weights
# are 1 and there is no constant, your sweep can tell.

# %%
rng = np.random.default_rng(2)
X, y = rng.standard_normal((20, 4)), rng.standard_normal(20)
try:
    lam = lambda_max(X, y, np.ones(4), False)
    for share, wanted in ((0.99, 1), (1.01, 0)):
        beta = np.zeros(4)
        for _ in range(50):
            beta, _ = sweep(X, y, beta, share * lam, 0.0)
        print(f"{share} of it: {np.sum(beta != 0)} coefficient(s), should be {wanted}")
except NotImplementedError:
    print("cd.2 or cd.3 is not written yet")

# %% [markdown]
# ## Exercise cd.4 (5 points, 40 minutes): how far from the minimum?
#
# For the lasso, notebook 05 has: each $\nu$ in the **box** $|x_j^\top\nu| \le n\lambda$ (for all $j$) gives a lower
# bound $D(\nu) = \frac1{2n}(\|y\|^2 - \|y - \nu\|^2)$ of the minimum. The residual is scaled down into the box:
# $\nu = s\,r$ with the largest $s \le 1$ that lies in it. The gap is $F(\beta) - D(\nu)$. Here is the elastic net. With
# $$\tilde X = \begin{pmatrix} X \\ \sqrt{n\mu}\,I \end{pmatrix} , \qquad
# \tilde y = \begin{pmatrix} y \\ 0 \end{pmatrix}$$
# and the old $n$, it is a lasso with $p$ more rows.
#
# (a) Show it. (b) What is the residual of the new rows, and what does the box say in terms of $X$, $r$, $\mu$ and
# $\beta$? (c) Return the gap of the lasso with $\tilde X$ and $\tilde y$, a number. You need not form $\tilde X$.
# (d) The difference of two large numbers loses digits. Can you write the gap as a sum of terms that are at least 0?
#
# *Graded:* at the minimum where it is 0 (1 point, the check has it); far from the minimum and at $\beta = 0$ (2); near
# the minimum with more columns than rows (1); the residual lies in the box (1). *Hint:* the check has a minimum. Move
# one of its coefficients: the gap has to be at least as large as what $F$ falls by when it moves back.


# %% exercise="cd.4"
def duality_gap(X, y, beta, lam, mu):
    """Return the duality gap of beta, a number."""
    ### BEGIN SOLUTION
    n, r = len(y), y - X @ beta
    c = X.T @ r / n - mu * beta
    most = np.max(abs(c))
    s = lam / most if most > lam else 1.0
    squares = r @ r / n + mu * beta @ beta
    return (1 - s) ** 2 * squares / 2 + np.sum(lam * abs(beta) - s * beta * c)
    ### END SOLUTION


# %%
check("cd.4", duality_gap)

# %% [markdown]
# **A picture.** Two problems of the same size, columns that have little in common and columns that have much. Which
# steps of cd.1 become short, and why?

# %%
rng = np.random.default_rng(3)
try:
    for shared in (0.3, 1.0):
        X, y = rng.standard_normal((30, 10)), rng.standard_normal(30)
        X += shared * rng.standard_normal((30, 1))
        beta, gaps = np.zeros(10), []
        for _ in range(60):
            beta, _ = sweep(X, y, beta, 0.05, 0.01)
            gaps.append(max(duality_gap(X, y, beta, 0.05, 0.01), 1e-17))
        plt.semilogy(gaps, label=f"{shared} times a common column added")
    plt.xlabel("sweeps"), plt.ylabel("duality gap"), plt.legend()
    plt.show()
except NotImplementedError:
    print("cd.2 or cd.4 is not written yet")

# %% [markdown]
# ## Exercise cd.5 (4 points, 35 minutes): the first solution with k coefficients
#
# The lecture says: a larger $\lambda$, more zeros. On the whole this is so, but not step by step. A coefficient can
# leave as $\lambda$ falls, and come back. Given is a table of solutions: `lams` $(L,)$, all different, and `betas`
# $(p, L)$, one solution a column. Channel pruning asks for one with $k$ coefficients.
#
# **A coefficient counts if its modulus is above $10^{-10}$**; what is smaller is dust that a solver has left.
# Among the solutions with *at most* $k$ coefficients take those with the *most*. Of these take the one at the
# *largest* $\lambda$. Return its $\lambda$ and its support: the indices of the coefficients that count, ascending.
#
# The table is ordered by $\lambda$, but it may begin with the largest or with the smallest. It always holds a solution
# without coefficients.
#
# (a) Give numbers of coefficients along a path for which halving the path fails. (b) Some for which stopping at the
# first solution with more than $k$ fails. (c) Write the function.
#
# *Graded, 1 point each:* one after the other joins (the check has it); one leaves and comes back; $k$ is jumped over,
# and reached later or never; dust and the smallest $\lambda$ first. *Hint:* count first, then choose.


# %% exercise="cd.5"
def first_with(lams, betas, k):
    """Return (lam, the support: ascending indices)."""
    ### BEGIN SOLUTION
    there = abs(betas) > 1e-10
    counts = np.sum(there, axis=0)
    best = np.max(counts[counts <= k])
    i = np.argmax(np.where(counts == best, lams, -np.inf))
    return lams[i], np.flatnonzero(there[:, i])
    ### END SOLUTION


# %%
check("cd.5", first_with)

# %%
number = np.array([0, 2, 3, 2, 3, 1, 4])
lams, betas = np.arange(7.0, 0.0, -1.0), np.where(np.arange(4)[:, None] < number, 1.0, 1e-13)
try:
    for k, wanted in ((0, 7), (1, 2), (2, 6), (3, 5), (4, 1)):
        lam, support = first_with(lams, betas, k)
        print(f"k = {k}: lam = {lam:.0f}, should be {wanted}; {len(support)} in the support")
except NotImplementedError:
    print("cd.5 is not written yet")

# %% [markdown]
# ## Target: a path that is proved (10 points, 60 minutes)
#
# You get `X` $(100, 2000)$, `y` $(100,)$ and twelve values `lams`, the largest first, from 80 % to 2 % of
# $\lambda_{\max}$. Neighbouring columns are correlated (0.95), and their lengths differ by factors up to 16. Twelve
# columns have made $y$, with noise. Solve the lasso ($\mu = 0$) at each of the twelve $\lambda$, and return the
# solutions in the columns of an array $(2000, 12)$.
#
# **The goal:** the duality gap of each solution is at most $10^{-6}\,\|y\|^2/2n$, that is, a millionth of the objective
# at $\beta = 0$. The judge computes it from your numbers. It does not ask how you have found them.
#
# A few sweeps do not reach it: after 10 sweeps at each $\lambda$, started from the solution before, the largest gap is
# ten thousand times too large (with five keys). Your function may take 20 seconds, and sweeps over all 2000 columns
# until the gap is small enough took more than 45 seconds in our trial. The lecturer's key decides the data.
#
# Some questions on the way: where should the search at one $\lambda$ start? How many of the 2000 coefficients move in a
# sweep, and do the others have to be visited every time? When may you stop, and what does it cost to know? What can be
# computed once?


# %% exercise="cd.target"
def run(x, a, r, beta, lam, which):
    """Take the lasso's steps of these coefficients, changing r and beta, if you want to."""
    ### BEGIN SOLUTION
    for j in which:
        z = x[j] @ r / len(r) + a[j] * beta[j]
        b = (max(z - lam, 0.0) + min(z + lam, 0.0)) / a[j]
        if b != beta[j]:
            r -= (b - beta[j]) * x[j]
            beta[j] = b
    ### END SOLUTION


def path(X, y, lams):
    """Return the solutions, shape (p, number of lams), one a column."""
    ### BEGIN SOLUTION
    x, a, enough = np.ascontiguousarray(X.T), np.mean(X * X, axis=0), 1e-7 * (y @ y) / (2 * len(y))
    beta, betas = np.zeros(X.shape[1]), []
    for lam in lams:  # each from the solution before
        while duality_gap(X, y, beta, lam, 0.0) > enough:
            r = y - X @ beta
            run(x, a, r, beta, lam, range(len(beta)))
            active = np.flatnonzero(beta)  # the others are visited again when these stand still
            for _ in range(40):
                run(x, a, r, beta, lam, active)
        betas.append(beta.copy())
    return np.stack(betas, axis=1)
    ### END SOLUTION


# %% [markdown]
# There is no check for the target. Your gap is one: try your function on a smaller problem.

# %%
rng = np.random.default_rng(4)
X, noise = rng.standard_normal((60, 400)), rng.standard_normal(60)
for j in range(1, 400):
    X[:, j] = 0.95 * X[:, j - 1] + 0.3 * X[:, j]
X *= 2 ** rng.uniform(-2, 2, 400)
y = X[:, 50] / np.std(X[:, 50]) - X[:, 200] / np.std(X[:, 200]) + 0.3 * noise
try:
    lams = lambda_max(X, y, np.ones(400), False) * np.geomspace(0.8, 0.02, 12)
    for lam, beta in zip(lams, path(X, y, lams).T):
        gap = duality_gap(X, y, beta, lam, 0.0) / (y @ y / 120)
        print(f"{np.sum(beta != 0):3d} coefficients, gap {gap:.0e}, should be below 1e-06")
except NotImplementedError:
    print("cd.3 or cd.4 or the target is not written yet")
