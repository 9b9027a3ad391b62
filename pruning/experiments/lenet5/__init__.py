"""The record of LeNet-5: `stages` on the way to a small net, the `bank` that students learn from, and `cells`."""
