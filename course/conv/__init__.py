"""Problem set E: convolution."""
