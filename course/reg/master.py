# %% [markdown]
# # Problem set: from least squares to sparsity
#
# A model that uses eight of a hundred columns can be measured, explained and computed. Which eight? Least squares does
# not say: it uses all of them, and with few samples it learns the noise as well. The lecture's answers are a penalty
# (ridge, the lasso, the count of coefficients) and a greedy choice (matching pursuit). Pruning a layer is the same
# problem, with weights for coefficients. Here you derive and write the pieces, in forms that differ a little from those
# of the lecture: samples with weights, weights with curvatures, a ball with weighted axes, a fit with a constant. In
# the end you look for eight columns in a hundred, some of which are there to mislead you.
#
# **You need** notebook 04, about two hours for the exercises and one for the target, and NumPy. For the target one
# section of notebook 10 helps.
#
# **The rules.** `X` is $(n, p)$ with samples in rows, `y` is $(n,)$. Below every exercise, `check` compares with
# numbers that lie beside this file. Grading uses more cases with other numbers and sizes; the text names them. It runs
# your *definitions* (imports, functions, constants) of all cells in order, and nothing else: do not rely on what a
# scratch cell has computed. `nn`, `pruning` and `textbook` do not exist when your functions are graded. Keep the names
# of functions and of their arguments, return arrays (no lists) where a shape is given, and change no argument.

# %%
import matplotlib.pyplot as plt
import numpy as np
from check import check

# %% [markdown]
# ## Exercise reg.1 (4 points, 20 minutes): ridge with weighted samples
#
# The slide has $\|y - X\beta\|^2 + \lambda\|\beta\|^2$. Here samples have weights $v_i > 0$, because some were measured
# better than others, and the squares are a mean:
# $$E(\beta) = \frac1{2n}\sum_{i=1}^n v_i\,(y_i - x_i^\top\beta)^2 + \lambda\,\|\beta\|^2 .$$
# $n$ is the number of samples, whatever they weigh.
#
# (a) Set the gradient of $E$ to zero: which system does $\beta$ solve? (b) Which factors do the rows of $X$ and the
# entries of $y$ need, and which rows can you put below them, so that the same $\beta$ is a plain least-squares fit? (c)
# Write it, for `X` $(n, p)$, `y` and `v` $(n,)$ and the number `lam` $\ge 0$.
#
# *Graded, 1 point each:* three samples and two columns in whole numbers (the check has it); fewer samples than columns;
# other sizes or a single sample; $\lambda = 0$ with nearly dependent columns, where (a) loses twice as many digits as
# (b) and has next to none left (notebook 04, section 3.1). *Hint:* a weight of 2 does the same as a sample that is
# there twice, if $n$ stays what it was.


# %% exercise="reg.1"
def ridge(X, y, v, lam):
    """Return beta (p,), the minimiser of sum v (y - X beta)^2 / 2n + lam ||beta||^2."""
    ### BEGIN SOLUTION
    n, p = X.shape
    root = np.sqrt(v)
    rows = np.vstack([root[:, None] * X, np.sqrt(2 * n * lam) * np.eye(p)])
    values = np.append(root * y, np.zeros(p))
    return np.linalg.lstsq(rows, values, rcond=None)[0]
    ### END SOLUTION


# %%
check("reg.1", ridge)

# %% [markdown]
# **Be your own referee.** $E$ is a parabola. Around its bottom, and nowhere else, it is symmetric: a step $d$ and a
# step $-d$ cost the same, whatever $d$ is.

# %%
rng = np.random.default_rng(0)
X, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
v, lam, d = rng.uniform(0.5, 2, 6), 0.3, rng.standard_normal(3)
try:
    beta = ridge(X, y, v, lam)
    up, down = (v @ (y - X @ b) ** 2 / 12 + lam * b @ b for b in (beta + d, beta - d))
    print(f"E(beta + d) - E(beta - d) is {abs(up - down):.0e}, should be below 1e-12")
except NotImplementedError:
    print("reg.1 is not written yet")

# %% [markdown]
# ## Exercise reg.2 (4 points, 20 minutes): a corner and a square
#
# The lasso of one variable has $\frac12(x - w)^2 + \lambda|x|$. Add a square to it, as the elastic net does:
# $$\min_x\ \tfrac12(x - w)^2 + \lambda\,|x| + \tfrac12\,\mu\,x^2, \qquad \lambda, \mu \ge 0 .$$
#
# (a) Solve it for $x > 0$. For which $w$ is this possible? (b) For $x < 0$. (c) What is left for all other $w$? (d)
# Write it for arrays: `w`, `lam` and `mu` have the same shape $(K,)$, and every weight has a $\lambda$ and a $\mu$ of
# its own.
#
# In the text of the slide with the solution minus signs are lost: it has $\omega\lambda$ for a difference. Trust your
# own derivation.
#
# *Graded, 1 point each:* five weights (the check has it); other $\lambda$ and $\mu$; $w = \pm\lambda$ and $w = 0$; some
# $\lambda$ and some $\mu$ are zero.


# %% exercise="reg.2"
def prox_elastic(w, lam, mu):
    """Return x (K,), the minimisers of (x - w)^2 / 2 + lam |x| + mu x^2 / 2."""
    ### BEGIN SOLUTION
    return np.sign(w) * np.maximum(np.abs(w) - lam, 0) / (1 + mu)
    ### END SOLUTION


# %%
check("reg.2", prox_elastic)

# %% [markdown]
# ## Exercise reg.3 (4 points, 25 minutes): penalties that jump
#
# "Can we introduce a more sparse regularization term?" asks the slide. Take a power $p$ below 1, and give every weight
# a curvature $h > 0$, as Optimal Brain Damage does:
# $$\min_x\ \tfrac12\,h\,(x - w)^2 + \lambda\,|x|^p, \qquad p \in \{0, \tfrac12\},\quad |x|^0 = 0
# \text{ for } x = 0 \text{, else } 1 .$$
# Notebook 04 has $h = 1$. Neither function is convex: $x = 0$ is always a local minimum, and has to be compared with
# the best other one.
#
# (a) For $p = 0$: which $x \ne 0$ is best, and when is it better than 0? Do you know the quantity that decides?
# (b) For $p = \frac12$ and $w > 0$: put $x = t^2$. Which cubic does $t$ solve, and which of its roots is the minimum?
# (c) Show that it is better than 0 for $|w|$ above $\frac32$ times a power of $\lambda/h$. Which one? (d) Write both,
# for `w` and `h` of shape $(K,)$ and the numbers `lam` $> 0$ and `p` (0 or 0.5).
#
# *Graded, 1 point each:* $h = 1$ and $p = \frac12$ on both sides of the jump (the check has it); $p = 0$, near the jump
# and far from it; $p = \frac12$, the same; very small and very large $\lambda$ with zeros in `w`. No weight lies on a
# jump. *Hint:* `np.roots([1, 0, b, c])` finds the roots of $t^3 + bt + c$.


# %% exercise="reg.3"
def prox_root(w, h, lam, p):
    """Return x (K,), the minimisers of h (x - w)^2 / 2 + lam |x|^p, for p = 0 or 1/2."""
    ### BEGIN SOLUTION
    if p == 0:
        return np.where(h * w * w / 2 > lam, w, 0.0)
    x, price = np.zeros(len(w)), lam / h
    for i in np.flatnonzero(np.abs(w) > 1.5 * price ** (2 / 3)):
        t = np.roots([1, 0, -abs(w[i]), price[i] / 2]).real.max()
        x[i] = np.sign(w[i]) * t * t
    return x
    ### END SOLUTION


# %%
check("reg.3", prox_root)

# %% [markdown]
# **A picture, and a referee.** The three functions of this sheet's first half, for $\lambda = \mu = h = 1$. The dots
# are found by trying every $x$ on a grid: your line should pass through them, and jump where they do.

# %%
w, x, one = np.linspace(-3, 3, 241), np.linspace(-3, 3, 2401), np.ones(241)
for name, penalty, own in (
    ("elastic net", np.abs(x) + x * x / 2, lambda: prox_elastic(w, one, one)),
    ("root", np.sqrt(np.abs(x)), lambda: prox_root(w, one, 1.0, 0.5)),
    ("count", (np.abs(x) > 1e-9) * 1.0, lambda: prox_root(w, one, 1.0, 0)),
):
    tried = x[np.argmin((x - w[::11, None]) ** 2 / 2 + penalty, axis=1)]
    dots = plt.plot(w[::11], tried, "o", markersize=4, label=name)
    try:
        plt.plot(w, own(), color=dots[0].get_color())
    except NotImplementedError:
        print(f"{name} is not written yet")
plt.legend(title="x against w")
plt.show()

# %% [markdown]
# ## Exercise reg.4 (4 points, 25 minutes): the nearest point of a weighted ball
#
# The figure with the two contour plots has the lasso as a constraint, $|\beta_1| + |\beta_2| \le t$. Let coefficients
# have prices $a_i > 0$. Given a point $w$, find the nearest point of the ball:
# $$\min_x\ \tfrac12\|x - w\|^2 \quad\text{subject to}\quad \sum_i a_i\,|x_i| \le t .$$
#
# (a) What is $x$ if $w$ lies in the ball? (b) If not, $w - x$ is $\theta$ times a slope of the constraint, with one
# $\theta > 0$ for all entries. What is $x_i$, for a given $\theta$? (c) Which $\theta$ puts $x$ on the surface, if you
# know which entries stay? (d) How do you find out which stay? Write it, for `w` and `a` of shape $(K,)$ and the number
# `t` $> 0$.
#
# *Graded, 1 point each:* a point of the plane (the check has it); other sizes, where some entries become zero; points
# inside the ball; ties and zeros. *Hint:* as entries become zero, $\theta$ only grows.


# %% exercise="reg.4"
def project_weighted_ball(w, a, t):
    """Return x (K,), the point with sum a |x| <= t that is nearest to w."""
    ### BEGIN SOLUTION
    size = np.abs(w)
    if a @ size <= t:
        return w.copy()
    active = np.ones(len(w), bool)
    while True:
        theta = (a[active] @ size[active] - t) / np.sum(a[active] ** 2)
        left = active & (size > theta * a)
        if np.array_equal(left, active):
            return np.sign(w) * np.maximum(size - theta * a, 0)
        active = left
    ### END SOLUTION


# %%
check("reg.4", project_weighted_ball)

# %% [markdown]
# **Be your own referee.** At the nearest point $x$ of a convex set, no direction into the set leads nearer to $w$:
# $(w - x)^\top(c - x) \le 0$ for all points $c$ of the set. For a ball with corners, the corners
# $\pm\frac t{a_i}e_i$ are enough.

# %%
rng = np.random.default_rng(1)
w, a, t = 3 * rng.standard_normal(6), rng.uniform(0.5, 2, 6), 4.0
corners = np.vstack([np.diag(t / a), -np.diag(t / a)])
try:
    x = project_weighted_ball(w, a, t)
    print(f"sum a|x| is {a @ np.abs(x):.12f}, should be {t}")
    print(f"towards a corner: {np.max((corners - x) @ (w - x)):.0e}, should be below 1e-12")
except NotImplementedError:
    print("reg.4 is not written yet")

# %% [markdown]
# ## Exercise reg.5 (5 points, 35 minutes): matching pursuit with a constant
#
# The slide names orthogonal matching pursuit: of all columns take the one that is most like the residual, fit again
# with all columns taken so far, and go on until there are $k$. In notebook 04 the fit passes through zero. Here a
# constant $b$ is in every fit from the start, and does not count: the model is $y \approx X\beta + b$.
#
# (a) A column $x_j$ *and a change of the constant* are fitted to the residual $r$, which has the mean zero. By how much
# does $\|r\|^2$ fall? Show that the best $j$ is that of the largest $|z_j^\top r|/\|z_j\|$, with some $z_j$. (b) What
# does a column that is constant explain? (c) Return $\beta$ $(p,)$, zero but for at most $k$ entries, and $b$.
#
# Of equal columns take the first. Stop early if nothing is left, $\|r\| \le 10^{-9}\,\|y - \bar y\|$.
#
# *Graded, 1 point each:* orthogonal columns (the check has it); columns with means and in other units; correlated
# columns; a constant column; a column that is there twice, in a fit that has no error before there are $k$. *Hint:* a
# constant in the fit does the same as taking the means of $y$ and of all columns away first.


# %% exercise="reg.5"
def omp(X, y, k):
    """Return (beta (p,), the constant) of a fit on at most k columns, chosen one by one."""
    ### BEGIN SOLUTION
    Z, r = X - X.mean(axis=0), y - y.mean()
    norms, S, beta = np.linalg.norm(Z, axis=0), [], np.zeros(X.shape[1])
    norms[norms == 0] = np.inf  # a constant column explains nothing
    for _ in range(k):
        if np.linalg.norm(r) <= 1e-9 * np.linalg.norm(y - y.mean()):
            break
        fit = np.abs(Z.T @ r) / norms
        fit[S] = 0
        S.append(int(np.argmax(fit)))
        beta[S] = np.linalg.lstsq(Z[:, S], y - y.mean(), rcond=None)[0]
        r = y - y.mean() - Z @ beta
    return beta, y.mean() - X.mean(axis=0) @ beta
    ### END SOLUTION


# %%
check("reg.5", omp)

# %% [markdown]
# **Be your own referee.** The residual of a least-squares fit is orthogonal to every column that is in it, and to a
# column of ones.

# %%
rng = np.random.default_rng(2)
X, y = rng.standard_normal((12, 6)) + np.arange(6), rng.standard_normal(12) + 2
try:
    beta, constant = omp(X, y, 3)
    r, S = y - X @ beta - constant, np.flatnonzero(beta)
    print(f"columns {S}, should be 3 of them")
    print(f"mean of the residual: {abs(r.mean()):.0e}, should be below 1e-12")
    print(f"products with the columns: {np.abs(X[:, S].T @ r).max():.0e}, should be below 1e-12")
except NotImplementedError:
    print("reg.5 is not written yet")

# %% [markdown]
# ## Target: eight columns of a hundred (10 points, 60 minutes)
#
# You get 90 samples with 100 columns, `X` $(90, 100)$ and `y` $(90,)$, and the number `k` $= 8$. $y$ is a constant plus
# eight columns, each with a coefficient of about $\pm1$ in the unit of its column, plus noise. Columns come in
# different units, from 0.1 to 10, and with means. Neighbours are correlated. Two of the other columns are there to
# mislead: each has a correlation of 0.7 with what four of the true ones add up to. Return $\beta$ $(100,)$ with at most
# eight entries that are not zero, and the constant. The judge predicts 1000 samples that you have not seen.
#
# **The goal:** the mean squared error of the prediction is at most 1.5 times that of a least-squares fit on the eight
# true columns, which the judge knows. The lecturer's key decides all numbers. Your function may take 20 seconds.
#
# With more columns than samples, least squares fits without error and predicts badly; cut at its eight largest
# coefficients it is far from the goal. So are the eight columns that correlate most with $y$. Your `omp` has no way
# back once it has taken a wrong column, and the draw is such that it misses the goal as well.
#
# Some questions on the way: what if the pursuit may take more columns than you need, and you delete some again? What
# does a deletion cost, if all other coefficients may answer (notebook 10, section 1)? Or, with eight columns in hand:
# does it pay to exchange one?


# %% exercise="reg.target"
def sparse_fit(X, y, k):
    """Return (beta (p,) with at most k entries that are not zero, the constant)."""
    ### BEGIN SOLUTION
    S = np.flatnonzero(omp(X, y, 4 * k)[0])
    while len(S) > k:
        Z = X[:, S] - X[:, S].mean(axis=0)
        Hinv = np.linalg.inv(Z.T @ Z)
        b = Hinv @ (Z.T @ (y - y.mean()))
        S = np.delete(S, np.argmin(b * b / np.diag(Hinv)))  # the price, if the others answer
    beta = np.zeros(X.shape[1])
    beta[S], constant = omp(X[:, S], y, k)
    return beta, constant
    ### END SOLUTION


# %% [markdown]
# There is no check for the target. Try your function on data of your own, where you know the truth. This cell has one
# misleading column; on unseen rows the noise alone has a mean square of about 0.16.

# %%
rng = np.random.default_rng(3)
X, true = rng.standard_normal((1090, 100)), np.arange(8)
X[:, 50] = 0.35 * X[:, :4].sum(axis=1) + 0.7 * X[:, 50]
y = 3 + X[:, true].sum(axis=1) + 0.4 * rng.standard_normal(1090)
for name, function in (("pursuit alone", omp), ("yours", sparse_fit)):
    try:
        beta, constant = function(X[:90], y[:90], 8)
        off = np.mean((y[90:] - X[90:] @ beta - constant) ** 2)
        print(f"{name}: columns {np.flatnonzero(beta)}, mean squared error {off:.2f}")
    except NotImplementedError:
        print(f"{name}: not written yet")
