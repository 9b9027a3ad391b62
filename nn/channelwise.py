"""What the layers share that multiply each channel with a number of its own."""

from typing import Any

from nn.backend import Array
from nn.module import Module


class Channelwise(Module):
    """In eval mode y_c = factor_c x_c + shift_c, one factor and one shift for every channel (axis 0).

    This is all that is to be known of a layer to cut its channels, to count it, and to move it, or what a factor of
    zero leaves of a channel, into the layers around it.  It holds for layers that are written elsewhere too: a
    subclass has ``channels``, a constructor that takes ``channels=`` and whatever else its ``config`` returns, a
    ``forward`` and a ``factor``; each of its parameters and buffers has one entry for each channel, on axis 0, or is
    there once for all (`nn.Scale` has one for each group of channels, and surgery knows it).

    In front of factor and shift a subclass may take means of windows (`nn.Subsampling`): it is a pool as well.
    """

    channels: int

    def factor(self) -> Array:
        """Return what each channel is multiplied with in eval mode, (C,)."""
        raise ValueError(f"{type(self).__name__} does not say what it multiplies a channel with: it has no factor()")

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"channels": self.channels}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the input, whose channels must match."""
        if tuple(shape[:1]) != (self.channels,):
            kind, given = type(self).__name__, shape[0] if shape else "none"
            raise ValueError(f"{kind}({self.channels}) expected {self.channels} channels, got {given}")
        return shape
