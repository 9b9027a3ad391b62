"""Random nets with a record of what belongs to each channel, kept while they are built: it knows nothing of pruning."""

import copy

import numpy as np
from hypothesis import strategies as st

import nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}
BLOCKS = ("chain", "identity", "projection", "zero-padded", "concat", "groups", "depthwise", "pool", "subsampling")


def choices(activations=ACTIVATIONS):
    """What a RandomNet is built of, with the seed of its generator, for hypothesis to draw."""
    blocks = st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3, unique=True)
    return blocks, st.sampled_from(sorted(activations)), st.booleans(), st.integers(0, 2**32 - 1)


class RandomNet:
    """A net in eval mode, its input shape, and for every channel: which rows of which layers make or follow it.

    members: channel -> [(layer, row)].  tied: pairs of channels.  balanced: for each grouped convolution, the channels
    of its groups, in and out.  frozen: the channels of the output.
    """

    def __init__(self, blocks, activation, flatten, rng):
        self.rng, self.activation = rng, ACTIVATIONS[activation]
        self.members, self.tied, self.balanced, self.features = {}, [], [], set()
        self.shape = self.input_shape = (2, 7, 6)
        self.stream = [None, None]  # channels of the input belong to nobody
        layers = self.conv(int(rng.integers(3, 6)))
        for block in blocks:
            self.features.add(block)
            layers += getattr(self, block.replace("-", "_"))()
        layers += self.head(flatten)
        self.net = nn.Sequential(*layers).eval()
        self.frozen = set(self.stream)

    def made(self, layer, n):
        """Numbers for the n channels that a layer makes."""
        first = len(self.members)
        self.members.update({first + row: [(layer, row)] for row in range(n)})
        return list(range(first, first + n))

    def follow(self, layer):
        for row, channel in enumerate(self.stream):
            if channel is not None:
                self.members[channel].append((layer, row))
        return layer

    def put(self, layers):
        self.shape = nn.Sequential(*layers).output_shape(self.shape)
        return layers

    def conv(self, c_out, kernel=None, padding=None, activate=True, groups=1, keep_size=False):
        """[convolution, perhaps batch norm, perhaps an activation]."""
        C, H, W = self.shape
        k = 3 if keep_size else min(int(self.rng.integers(1, 4)), H, W) if kernel is None else kernel
        p = k // 2 if keep_size else int(self.rng.integers(0, 2)) if padding is None else padding
        self.features |= {"padding"} if p else set()
        bias, norm = (bool(self.rng.integers(2)) for _ in range(2))
        layer = nn.Conv2d(C, c_out, k, self.rng, padding=p, groups=groups, bias=bias)
        if bias:
            layer.b.data = self.rng.standard_normal(c_out)
        self.stream = self.made(layer, c_out)
        layers = [layer]
        if norm:
            layers.append(self.norm(c_out))
        if activate:
            layers += [self.activation()] + [nn.Dropout(0.5, None)] * int(self.rng.integers(4) == 0)
        return self.put(layers)

    def norm(self, channels):
        norm = nn.BatchNorm(channels)
        norm.gamma.data, norm.beta.data = self.rng.standard_normal((2, channels))
        norm.running_mean, norm.running_variance = (
            self.rng.standard_normal(channels),
            self.rng.uniform(0.5, 2, channels),
        )
        return self.follow(norm)

    def chain(self):
        return self.conv(int(self.rng.integers(3, 6)))

    def body(self, c_out):
        """Two convolutions that keep the size of the image, and what they make."""
        before, shape = self.stream, self.shape
        layers = self.conv(int(self.rng.integers(2, 5)), keep_size=True)
        layers += self.conv(c_out, keep_size=True, activate=False)
        made, self.stream, self.shape = self.stream, before, shape
        return nn.Sequential(*layers), made

    def identity(self):
        body, made = self.body(self.shape[0])
        self.tied += zip(self.stream, made)
        return [nn.Residual(body), self.activation()]

    def projection(self):
        c_out = int(self.rng.integers(3, 6))
        body, made = self.body(c_out)
        shortcut = self.conv(c_out, kernel=1, padding=0, activate=False)
        self.tied += zip(self.stream, made)
        return [nn.Residual(body, nn.Sequential(*shortcut)), self.activation()]

    def zero_padded(self):
        new = int(self.rng.integers(1, 3))
        body, made = self.body(self.shape[0] + new)
        self.tied += zip(self.stream, made)
        self.stream = made
        return self.put([nn.Residual(body, nn.ZeroPadShortcut(new)), self.activation()])

    def concat(self):
        before = self.stream
        body, made = self.body(int(self.rng.integers(2, 4)))
        first = nn.Identity()
        if self.rng.integers(2):
            other, before = self.body(int(self.rng.integers(2, 4)))
            first = other
        self.stream = before + made
        layers = self.put([nn.Concat(first, body)])
        return [*layers, self.norm(len(self.stream)), self.activation()] if self.rng.integers(2) else layers

    def groups(self):
        layers = self.conv(4)
        before = self.stream
        layers += self.conv(2 * int(self.rng.integers(2, 4)), groups=2)
        half = len(self.stream) // 2
        self.balanced += [((before[:2], before[2:]), (self.stream[:half], self.stream[half:]))]
        return layers

    def depthwise(self):
        before = self.stream
        layers = self.conv(len(before), groups=len(before))
        self.tied += zip(before, self.stream)
        return layers

    def pool(self):
        C, H, W = self.shape
        kinds = [nn.MaxPool2d(3, stride=2, padding=1), nn.AvgPool2d(3, stride=2, padding=1)]
        kinds += [nn.AvgPool2d(3, stride=2, padding=1, count_padding=False)]
        kinds += [nn.MaxPool2d(2, stride=1), nn.AvgPool2d(2, stride=1)] if min(H, W) >= 2 else []
        return self.put([kinds[int(self.rng.integers(len(kinds)))]])

    def subsampling(self):
        if min(self.shape[1:]) < 2:
            return []
        layer = nn.Subsampling(self.shape[0], 2, self.rng)
        layer.coefficient.data, layer.b.data = self.rng.standard_normal((2, self.shape[0]))
        return [*self.put([self.follow(layer)]), self.activation()]

    def head(self, flatten):
        self.features |= {"flatten"} if flatten else set()
        layers = self.put([nn.Flatten() if flatten else nn.GlobalAvgPool2d()])
        for n in (5, 3):
            layer = nn.Linear(self.shape[0], n, self.rng)
            layer.b.data = self.rng.standard_normal(n)
            self.stream = self.made(layer, n)
            layers += self.put([layer] if n == 3 else [layer, self.activation()])
        return layers

    def together(self, channels):
        """The channels, and all that are tied to them; None among them is the input."""
        found, grown = set(channels), True
        while grown:
            more = {b for pair in self.tied for a, b in (pair, pair[::-1]) if a in found} - found
            found, grown = found | more, bool(more)
        return found

    def masked(self, gone):
        """A copy of the net in which everything that makes or follows these channels is zero."""
        memo = {}
        twin = copy.deepcopy(self.net, memo)
        for channel in gone:
            for layer, row in self.members[channel]:
                for parameter in memo[id(layer)].parameters():
                    parameter.data[row] = 0
        return twin

    def names(self):
        """{weight name: its channels} of the layers that make channels."""
        name_of = {id(parameter): name for name, parameter in self.net.named_parameters()}
        made = {}
        for channel, members in self.members.items():
            made.setdefault(name_of[id(members[0][0].W)], []).append(channel)
        return made

    def reasons(self, gone):
        """Why these channels cannot all go."""
        found = ["an output"] if gone & self.frozen else []
        found += [f"{name} vanishes" for name, channels in self.names().items() if gone.issuperset(channels)]
        left = [[len(set(channels) - gone) for channels in side] for pair in self.balanced for side in pair]
        return found + ["unequal groups" for sizes in left if len(set(sizes)) > 1]

    def cut(self):
        """Keep some rows of one or two producers, with all that is tied: (keep, the channels that go)."""
        names = self.names()
        for attempt in range(20):
            some = self.rng.choice(list(names)[:-1], size=min(2, len(names) - 1), replace=False)
            gone = self.together({channel for name in some for channel in names[name] if self.rng.integers(3) == 0})
            keep = {str(n): [row for row, channel in enumerate(names[n]) if channel not in gone] for n in some}
            if gone and (not self.reasons(gone) or attempt == 19 or self.rng.integers(60) == 0):
                return keep, gone
        return keep, gone


def small_net(rng):
    """Padded and unpadded convolutions, batch norm, dropout, pool, flatten."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, rng, padding=1),
        nn.BatchNorm(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 2, rng),
        nn.Tanh(),
        nn.Dropout(0.5, np.random.default_rng(7)),
        nn.Flatten(),
        nn.Linear(8, 5, rng),
        nn.ReLU(),
        nn.Linear(5, 3, rng),
    )


def grouped_net(rng):
    """Sigmoids, a padded convolution in two groups, a mean over the image."""
    layers = [nn.Conv2d(2, 4, 2, rng), nn.Sigmoid(), nn.Conv2d(4, 6, 2, rng, padding=1, groups=2), nn.Softplus()]
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(6, 3, rng))


def shortcut_net(rng):
    """A stem and two residual blocks, the second with a zero-padded shortcut."""
    conv = lambda *a: nn.Conv2d(*a, 3, rng, padding=1)  # noqa: E731
    first = nn.Residual(nn.Sequential(conv(4, 3), nn.ReLU(), conv(3, 4)))
    second = nn.Residual(nn.Sequential(conv(4, 3), nn.ReLU(), conv(3, 6)), nn.ZeroPadShortcut(2))
    layers = [conv(2, 4), nn.ReLU(), first, nn.ReLU(), second, nn.ReLU()]
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(6, 3, rng))
