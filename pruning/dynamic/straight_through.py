"""The straight-through gradient of yes-or-no decisions, and how far it is from the true one, by enumeration."""
