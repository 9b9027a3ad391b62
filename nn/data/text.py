"""Text as numbers: characters in a table, and windows in which each is to be told from those before it."""

import hashlib
from importlib import import_module

import numpy as np

from nn.arguments import whole


def python_topics() -> str:
    """Return the help texts of the Python that runs (``pydoc_data.topics``), one behind the other: they need no file.

    470,000 characters, 103 of them different, under the licence of Python (PSF).  They change with its version:
    `content_sum` says which they are.
    """
    return "".join(import_module("pydoc_data.topics").topics.values())


def content_sum(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, in hexadecimal digits."""
    return hashlib.sha256(_checked(text).encode()).hexdigest()


def alphabet(text: str) -> str:
    """Return the characters that the text has, each once, in their order in Unicode.

    Raises
    ------
    TypeError
        If this is no text.
    ValueError
        If it is empty.
    """
    return "".join(sorted(set(_checked(text))))


def numbered(text: str, symbols: str) -> np.ndarray:
    """Return the place of every character among the symbols, int64.

    Raises
    ------
    TypeError
        If one of the two is no text.
    ValueError
        If the text is empty, holds another character, or a symbol stands twice.

    Examples
    --------
    >>> from nn.data import text
    >>> text.numbered("abba", "ab")
    array([0, 1, 1, 0])
    """
    if len(set(_checked(symbols))) < len(symbols):
        raise ValueError("expected every symbol once, got one twice")
    places = {symbol: place for place, symbol in enumerate(symbols)}
    for position, character in enumerate(_checked(text)):
        if character not in places:
            raise ValueError(
                f"expected characters among the {len(symbols)} symbols, got {character!r} at position {position}"
            )
    return np.array([places[character] for character in text], dtype=np.int64)


def windows(codes: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (T, N) and the symbol behind each, t (T, N), of windows one behind the other; what is left over goes.

    Parameters
    ----------
    codes : (L,) symbols as numbers.
    T : length of a window.

    Raises
    ------
    ValueError
        If T is no whole number of 1 or more, or there are fewer than T + 1 symbols.

    Examples
    --------
    >>> import numpy as np
    >>> from nn.data import text
    >>> x, t = text.windows(np.arange(8), 3)
    >>> x.T, t.T
    (array([[0, 1, 2],
           [3, 4, 5]]), array([[1, 2, 3],
           [4, 5, 6]]))
    """
    T = whole(T, "length of a window", 1)
    N = (len(codes) - 1) // T
    if N < 1:
        raise ValueError(f"expected {T + 1} symbols or more for a window of {T} and what comes next, got {len(codes)}")
    x, t = (np.ascontiguousarray(each.reshape(N, T).T) for each in (codes[: N * T], codes[1 : N * T + 1]))
    return x, t


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"expected a text, got {type(text).__name__}")
    if not text:
        raise ValueError("expected a text of one character or more, got an empty one")
    return text
