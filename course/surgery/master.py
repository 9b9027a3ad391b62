# %% [markdown]
# # Problem set: what can be cut out of a net
#
# A mask of zeros makes no net smaller. To gain memory and time, filters and units have to be taken out, and what is
# left has to fit together again. Some cuts are exact: what a dead filter still emits can be moved into the next bias,
# and a batch norm into the weights. Others cost something, and it takes a rule to find the cheap ones. Here you write
# both kinds, in forms that differ a little from those of the lecture and the papers. In the end you take most of the
# hidden units out of a net that reads digits.
#
# **You need** notebooks 11, 11b and 15, a little less than three hours for the exercises and one for the target, and
# NumPy. For the target section 5 of notebook 16 helps.
#
# **The rules.** Weights of a convolution are `W` of shape $(O, C, K_H, K_W)$: filters, input maps, kernel. Below every
# exercise, `check` compares with numbers that lie beside this file. Grading uses more cases with other numbers and
# sizes; the text names them. It runs your *definitions* (imports, functions, constants) of all cells in order, and
# nothing else: do not rely on what a scratch cell has computed. `nn`, `pruning` and `textbook` do not exist when your
# functions are graded. Keep the names of functions and of their arguments, return arrays (no lists) where a shape is
# given, and change no argument.

# %%
import matplotlib.pyplot as plt
import numpy as np
from check import check

# %% [markdown]
# ## Exercise surg.1 (4 points, 20 minutes): which filters stay
#
# Li et al. score a filter by the sum of its absolute weights. If all pixels lie between $-1$ and $1$, this is the
# largest modulus that the filter can make (without its bias). Here input map $c$ lies between $-s_c$ and $s_c$, and
# some input maps are gone already: `kept_in` lists those that are left, ascending.
#
# (a) Derive the largest modulus that filter $j$ can make of the maps that are left: its score. (b) A share $p$ of the
# $n$ filters goes, so that $\lfloor n(1-p)\rfloor$ stay, and at least one. Return all scores, and the indices of the
# filters of the largest scores, ascending. Of equal filters the first stay.
#
# *Graded, 1 point each:* five filters (the check has it); other sizes and other shares; shares of which decimals are
# the point; equal scores. *Hint:* $p$ is the decimal that was written, at most two digits long. What is
# `20 * (1 - 0.9)` in Python?


# %% exercise="surg.1"
def kept(W, s, kept_in, p):
    """Return (scores of shape (O,), indices of the filters that stay); s is (C,)."""
    ### BEGIN SOLUTION
    scores = np.abs(W[:, kept_in]).sum(axis=(2, 3)) @ s[kept_in]
    number = max(1, int(np.floor(round(len(W) * (1 - p), 9))))
    return scores, np.sort(np.argsort(-scores, kind="stable")[:number])
    ### END SOLUTION


# %%
check("surg.1", kept)

# %% [markdown]
# ## Exercise surg.2 (4 points, 20 minutes): a batch norm in front
#
# Notebook 11b folds a batch norm into the convolution *in front of* it. Pre-activation blocks have the other order: a
# norm, and the convolution behind it. In eval mode the convolution reads
# $$y_c = \gamma_c\,\frac{x_c - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}} + \beta_c$$
# of every input map $c$, and has no border. Derive $W'$ and $b'$ of the one convolution that does both.
#
# (a) Sort $\sum_{c,k,l} W_{ockl}\,y_{ckl} + b_o$ by what depends on $x$. (b) Write it, for `W`, `b` of shape $(O,)$ or
# `None`, `gamma`, `beta`, `mean` and `var` of shape $(C,)$, and the number `eps`. (c) Not graded: why is this not exact
# at a border of zeros?
#
# *Graded, 1 point each:* two channels (the check has it); other sizes; no bias (`b = None`); small variances.


# %% exercise="surg.2"
def fold(W, b, gamma, beta, mean, var, eps):
    """Return (W', b'), shapes (O, C, KH, KW) and (O,)."""
    ### BEGIN SOLUTION
    s = gamma / np.sqrt(var + eps)
    added = W.sum(axis=(2, 3)) @ (beta - s * mean)
    return W * s[:, None, None], added if b is None else b + added
    ### END SOLUTION


# %%
check("surg.2", fold)

# %% [markdown]
# **Be your own referee.** One window of the image is enough: norm and filters, one after the other, against the folded
# filters.

# %%
rng = np.random.default_rng(0)
W, b, x = rng.standard_normal((2, 3, 2, 2)), rng.standard_normal(2), rng.standard_normal((3, 2, 2))
gamma, beta, mean = rng.standard_normal((3, 3))
var, eps = np.array([0.5, 1.0, 2.0]), 1e-3
y = np.stack([gamma[c] * (x[c] - mean[c]) / np.sqrt(var[c] + eps) + beta[c] for c in range(3)])
try:
    V, a = fold(W, b, gamma, beta, mean, var, eps)
    off = np.tensordot(V, x, 3) + a - np.tensordot(W, y, 3) - b
    print(f"off by {np.abs(off).max():.0e}, should be below 1e-12")
except NotImplementedError:
    print("surg.2 is not written yet")

# %% [markdown]
# ## Exercise surg.3 (6 points, 45 minutes): what dead filters leave behind
#
# All weights of some filters are zero. A paper calls their maps "blank", and takes them for zero. They are not: filter
# $m$ still has its bias $a_m$, so that its map is the constant $c_m = \tanh(a_m)$ behind the activation. The next
# layer, a convolution with stride 1, reads these maps. Before the dead channels are cut out of it, what they add has to
# move into its bias.
#
# Around all maps that it reads, this layer sees a border of `padding` pixels. The border of `nn.Conv2d` holds zeros.
# Here every pixel of the border holds the number $v$, as where images are extended by the colour of their background.
# Near the edge a window sees fewer pixels of the constant, so one bias for all pixels does not do: it takes a map.
#
# (a) Which windows see $c_m$ alone? What is the map without any border, and with $v = c_m$? (b) Return the bias map
# $B$, $(O, O_H, O_W)$, old bias `b` included, with which the layer without the dead channels computes what it did.
# `W` is $(O, C, K_H, K_W)$; `a` is $(C,)$, of which only the entries in the list `dead` count; `size` is $(H, W)$ of
# the maps without the border, so that $O_H = H + 2\,\mathrm{padding} - K_H + 1$. Layers slide kernels as they are, not
# mirrored.
#
# *Graded:* a border of one pixel (1 point, the check has it); no border (1); borders of one or two pixels, with
# other kernels (3); a border that is as large as what the dead filters emit (1).
# *Hint:* `np.lib.stride_tricks.sliding_window_view`, or two loops over the output.


# %% exercise="surg.3"
def fold_constant(W, b, a, dead, padding, v, size):
    """Return the bias map, shape (O, OH, OW)."""
    ### BEGIN SOLUTION
    O, C, KH, KW = W.shape
    OH, OW = size[0] + 2 * padding - KH + 1, size[1] + 2 * padding - KW + 1
    x = np.full((len(dead), size[0] + 2 * padding, size[1] + 2 * padding), float(v))
    inside = slice(padding, padding + size[0]), slice(padding, padding + size[1])
    x[(slice(None), *inside)] = np.tanh(a[dead])[:, None, None]
    B = np.empty((O, OH, OW))
    for i, j in np.ndindex(OH, OW):
        B[:, i, j] = b + np.tensordot(W[:, dead], x[:, i : i + KH, j : j + KW], 3)
    return B
    ### END SOLUTION


# %%
check("surg.3", fold_constant)

# %% [markdown]
# **A picture.** One dead filter, kernels of ones, a border of two pixels of $v = 0$. In the middle the map is flat:
# there, one bias would do.

# %%
try:
    ones, size = np.ones((1, 1, 3, 3)), np.array([6, 8])
    B = fold_constant(ones, np.zeros(1), np.ones(1), np.array([0]), 2, 0.0, size)
    plt.imshow(B[0])
    plt.colorbar(label="what the dead filter adds")
    plt.show()
    print(f"corner / middle: {B[0, 0, 0] / B[0, 3, 4]:.4f}, should be 1/9")
except NotImplementedError:
    print("surg.3 is not written yet")

# %% [markdown]
# ## Exercise surg.4 (4 points, 25 minutes): what it saves
#
# Two convolutions, one behind the other: $n_0$ maps of $h_0 \times w_0$ pixels become $n_1$ maps of $h_1 \times w_1$,
# and these become $n_2$ of $h_2 \times w_2$. Their kernels have sides `k[0]` and `k[1]`. Take `m` filters out of the
# first layer and `m2` out of the second one. The paper counts multiplications. Here **every product is one operation,
# and every sum of two numbers is another one**; there are no biases.
#
# (a) How many operations make one pixel, out of $K$ products? (b) What does the first layer save? (c) The second layer
# loses kernels of both kinds: those that read maps which are gone, and those of its own filters. What does it save?
# `n`, `h` and `w` are arrays of three numbers, `k` is one of two.
#
# *Graded:* two small layers (1 point, the check has it); `m2 = 0` (1); filters of both layers (2).


# %% exercise="surg.4"
def saved(n, k, h, w, m, m2):
    """Return what the two layers save, shape (2,)."""

    ### BEGIN SOLUTION
    def operations(inputs, outputs, layer):
        terms = inputs * k[layer] ** 2
        return outputs * (2 * terms - 1) * h[layer + 1] * w[layer + 1]

    first = operations(n[0], n[1], 0) - operations(n[0], n[1] - m, 0)
    second = operations(n[1], n[2], 1) - operations(n[1] - m, n[2] - m2, 1)
    return np.array([first, second])
    ### END SOLUTION


# %%
check("surg.4", saved)

# %% [markdown]
# ## Exercise surg.5 (4 points, 25 minutes): channels that are nearly empty
#
# After pruning by columns, channels of `W` $(O, C, K_H, K_W)$ may hold next to nothing. A *column* is what all filters
# have at one place $(c, k, l)$; a channel has $\Lambda = K_H K_W$ of them. Network purification (Algorithm 1) needs
# thresholds that fit the scale of each layer. Make it free of the scale:
#
# 1. A column is weak if its squared norm is less than $Th_1$ times the mean squared norm of all columns of the layer.
#    Weak columns are set to zero.
# 2. Of what is left, $\eta_c$ is the number of columns of channel $c$ that are not zero, divided by $\Lambda$, and
#    $\sigma_c$ is the sum of their squared norms, divided by $\Lambda$.
# 3. A channel is set to zero if $\eta_c < Th_2$ and $\sigma_c$ is less than $Th_3$ times the mean of $\sigma$ over all
#    channels.
#
# (a) Return $\eta$ and $\sigma$ of step 2, for all channels. (b) Return the new `W`. (c) Not graded: read Algorithm 1
# to the letter. Over which columns does it take $\eta$ and $\sigma$, and which channel would go first?
#
# *Graded:* three channels (1 point, the check has it); more channels in other scales (2); a channel of one strong
# column (1).


# %% exercise="surg.5"
def purify(W, th1, th2, th3):
    """Return (eta, sigma, new W), shapes (C,), (C,) and that of W."""
    ### BEGIN SOLUTION
    columns = np.sum(W * W, axis=0)
    strong = columns >= th1 * columns.mean()
    columns = columns * strong
    eta, sigma = np.mean(columns > 0, axis=(1, 2)), np.mean(columns, axis=(1, 2))
    gone = (eta < th2) & (sigma < th3 * sigma.mean())
    return eta, sigma, W * strong * ~gone[:, None, None]
    ### END SOLUTION


# %%
check("surg.5", purify)

# %% [markdown]
# **Be your own referee.** In another scale the same weights should go.

# %%
rng = np.random.default_rng(1)
W = rng.standard_normal((4, 6, 3, 3)) * rng.uniform(0, 1, (6, 3, 3)) ** 3
try:
    here, there = purify(W, 0.2, 0.5, 0.5), purify(100 * W, 0.2, 0.5, 0.5)
    print(f"{np.sum((here[2] != 0) != (there[2] != 0))} weights differ, should be 0")
    print(f"sigma: {np.mean(there[1]) / np.mean(here[1]):.0f} times as large, should be 10000")
except NotImplementedError:
    print("surg.5 is not written yet")

# %% [markdown]
# ## Exercise surg.6 (3 points, 25 minutes): kernels on no path
#
# `keep` is a list of matrices, one for each layer: `keep[l][i, j]` is 1 if the kernel from input map $j$ to output map
# $i$ of layer $l$ is alive, and 0 if it is gone. There are no biases, and all activations are 0 at 0. Layer 0 reads the
# data; the maps of the last layer are the outputs. `jumps` is an array of pairs $(a, b)$ with $a < b$, of shape
# $(J, 2)$, or $(0, 2)$ in a chain: the maps behind layer $a$ are **added** to those of layer $b$, and what comes behind
# reads the sums. If another pair begins with this $b$, it carries the sums on.
#
# A map is *blank* if it is zero for all data, whatever the weights that are left. It is *unread* if no output depends
# on it. A kernel that reads a blank map or makes an unread one is unused. (a) When is a sum blank, and when is a
# summand read? (b) Return the list of the matrices with all unused kernels set to 0, to the fixed point.
#
# *Graded, 1 point each:* four layers with a sum (the check has it); a chain without a sum; two sums in a
# row.


# %% exercise="surg.6"
def unused(keep, jumps):
    """Return the list of the new matrices."""
    ### BEGIN SOLUTION
    last = len(keep)
    alive = [np.ones(keep[0].shape[1], bool)]
    for l, K in enumerate(keep):
        added = [alive[a + 1] for a, b in jumps if b == l]
        alive.append(np.any([K @ alive[l] > 0, *added], axis=0))
    read = [np.zeros(len(maps), bool) for maps in alive]
    read[last][:] = True
    for l in reversed(range(last)):
        summed = [read[b + 1] for a, b in jumps if a == l]
        read[l + 1] = np.any([read[l + 1], *summed], axis=0)
        read[l] = keep[l].T @ read[l + 1] > 0
    return [K * np.outer(read[l + 1], alive[l]) for l, K in enumerate(keep)]
    ### END SOLUTION


# %%
check("surg.6", unused)

# %% [markdown]
# ## Target: nine units for 120 (10 points, 60 minutes)
#
# A net with 64 inputs, 120 hidden units and 10 outputs reads digits of 8 x 8 pixels: $y = \tanh(W_1x + b_1)$, and the
# largest of $W_2y + b_2$ is its answer. You get its weights, and the 1200 images `x` $(64, 1200)$ and labels `t`
# $(1200,)$ that it was trained on. Return which hidden units stay, and the smaller $W_2$ and $b_2$, in which you have
# folded whatever the others did. What comes into the units that stay is left as it is: the judge takes their rows of
# $W_1$ and $b_1$ from the net. It shows the small net about 600 images that it has not seen.
#
# **The goal:** at most 8 % of the weights of both matrices stay, which is nine units, and at least 86 % of the unseen
# images are read right. All of the net reads about 96 %.
#
# Many of the units say what others say already, some of them with the opposite sign. Many others hardly move, whatever
# the image, but speak loudly. Under the lecturer's key net, order and images are others than those of your
# neighbour's. Your function may take 20 seconds.
#
# Some questions on the way: what does a unit add to the outputs that a bias cannot? If two units say the same, what has
# become of the second one when the first one has been chosen? Given the units that stay, which $W_2$ and $b_2$ come
# closest to what the whole net says?


# %% exercise="surgery.target"
def chosen(y, z, number):
    """Return so many units; y (units, N), z (outputs, N).  (You may do without this one.)"""
    ### BEGIN SOLUTION
    y, z = (each - each.mean(axis=1, keepdims=True) for each in (y, z))
    units, enough = [], 1e-6 * np.sum(y * y, axis=1).max()
    for _ in range(number):
        size = np.sum(y * y, axis=1)
        gain = np.sum((z @ y.T) ** 2, axis=0) / np.maximum(size, enough)
        units.append(int(np.argmax(gain)))
        q = y[units[-1]] / np.sqrt(size[units[-1]])
        y, z = y - np.outer(y @ q, q), z - np.outer(z @ q, q)
    return np.sort(units)
    ### END SOLUTION


def operate(W1, b1, W2, b2, x, t):
    """Return (units, W2, b2): k indices, and arrays of shapes (10, k) and (10,)."""
    ### BEGIN SOLUTION
    y = np.tanh(W1 @ x + b1[:, None])
    units = chosen(y, W2 @ y, int(0.08 * len(b1)))
    seen = np.concatenate([y[units], np.ones((1, y.shape[1]))])
    new = np.linalg.lstsq(seen.T, (W2 @ y).T, rcond=None)[0].T
    return units, new[:, :-1], b2 + new[:, -1]
    ### END SOLUTION


# %% [markdown]
# There is no check for the target. Try your function on a net of random weights that has each of its nine units twice,
# and 102 units that hardly move. It can be cut down to nine with hardly any loss.

# %%
rng = np.random.default_rng(2)
nine, loud = rng.standard_normal((9, 64)), 0.01 * rng.standard_normal((102, 64))
W1, b1 = np.concatenate([nine, -nine, loud]), np.append(np.zeros(18), rng.uniform(1, 2, 102))
W2, b2, x = rng.standard_normal((10, 120)), np.zeros(10), rng.random((64, 2400)) - 0.5
whole = np.argmax(W2 @ np.tanh(W1 @ x + b1[:, None]), axis=0)
try:
    units, V, c = operate(W1, b1, W2, b2, x[:, :1200], whole[:1200])
    small = np.argmax(V @ np.tanh(W1[units] @ x + b1[units][:, None]) + c[:, None], axis=0)
    print(f"{len(units)} units stay, should be at most 9")
    print(f"{np.mean((small == whole)[1200:]):.1%} of new inputs get the same answer")
except NotImplementedError:
    print("the target is not written yet")
