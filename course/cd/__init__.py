"""The problem set on coordinate descent."""
