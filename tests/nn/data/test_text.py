"""Characters as numbers, windows and what comes next; bad input."""

import hashlib
import pydoc_data.topics as topics

import numpy as np
import pytest

from nn.data import text


def test_the_help_texts_are_those_of_this_python_to_the_bit():
    whole = text.python_topics()
    assert len(whole) == sum(map(len, topics.topics.values())) > 400_000
    symbols = text.alphabet(whole)
    assert set(symbols) == set(whole) and 90 < len(symbols) < 150
    codes = text.numbered(whole, symbols)
    assert "".join(symbols[code] for code in codes) == whole
    assert text.content_sum(whole) == hashlib.sha256(whole.encode()).hexdigest()


def test_every_symbol_of_a_window_has_the_next_one_as_target():
    codes = np.random.default_rng(0).integers(0, 9, 23)
    x, t = text.windows(codes, 4)
    assert x.shape == t.shape == (4, 5) and x.flags.c_contiguous and t.flags.c_contiguous
    np.testing.assert_array_equal(x.T.ravel(), codes[:20])
    np.testing.assert_array_equal(t.T.ravel(), codes[1:21])
    np.testing.assert_array_equal(text.windows(codes[:5], 4)[1], codes[1:5, None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: text.alphabet(""), "^expected a text of one character or more, got an empty one$"),
        (lambda: text.numbered("", "ab"), "^expected a text of one character or more, got an empty one$"),
        (lambda: text.alphabet(b"ab"), "^expected a text, got bytes$"),
        (lambda: text.numbered("abc", "ab"), "^expected characters among the 2 symbols, got 'c' at position 2$"),
        (lambda: text.numbered("ab", "aba"), "^expected every symbol once, got one twice$"),
        (lambda: text.windows(np.arange(4), 4), "^expected 5 symbols or more for a window of 4 .*, got 4$"),
        (lambda: text.windows(np.arange(4), 0), "^expected a whole length of a window of at least 1, got 0$"),
    ],
)
def test_bad_input_is_one_sentence(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
