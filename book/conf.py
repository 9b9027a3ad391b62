"""Sphinx's settings.  `book/build.py` (``make book``) gathers the sources first and runs Sphinx on them."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "notebooks"), str(HERE / "_ext")]

import words  # noqa: E402

project, author = "Pruning by hand", "The authors"
project_copyright = "the authors, BSD-3-Clause"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_copybutton",
    "lecture",
]
root_doc = "index"
suppress_warnings = ["myst.header"]  # tables of contents start where their pages need it

html_theme, html_title = "furo", "Pruning by hand"
html_static_path, html_css_files = ["_static"], ["book.css"]
html_copy_source = html_show_search_summary = False  # a page that is opened from disk may not read other files
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style, pygments_dark_style = "friendly", "monokai"  # furo's own dark style underlines what is imported

mathjax_path = "tex-svg-full.js"  # book/mathjax.py puts it into the sources' _static
mathjax3_config = {"options": {"enableMenu": False}}
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

# What is linked is known of all notebooks at once: with another heading anywhere, all pages are read again.
lecture_headings = words.headings(HERE.parent / "notebooks")

smartquotes_action = "D"  # dashes alone: f'' is a second derivative
nb_execution_mode, nb_render_markdown_format, nb_merge_streams = "off", "myst", True

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 96
napoleon_google_docstring, napoleon_use_rtype, napoleon_use_param = False, False, False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp, .go"
