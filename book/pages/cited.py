"""From a source to what uses it: methods, other modules, notebooks, rows of the ledger."""

import rooms
import sources


def page() -> str:
    """Return the page, with a label for each entry of the list of references."""
    modules = {name: sources.cited(text) for name, text in sources.strings().items() if ".ledger" not in name}
    notebooks = {number: sources.cited(text) for number, text in sources.prose().items()}
    out = [
        "(cited)=\n# Where each source is used\n",
        "Every entry of the [references](#references), with what names it: methods of pruning, other modules,"
        " notebooks, and rows of the ledger.\n",
    ]
    for key, entry in sources.references().items():
        methods = [f"[{each.title}](#{each.label})" for each in rooms.methods().values() if key in each.sources]
        others = [f"`{name}`" for name, keys in modules.items() if key in keys and name not in rooms.methods()]
        books = [f"[{number}](#nb{number})" for number, keys in notebooks.items() if key in keys]
        rows = [f"[{row}](#{row.lower()})" for row, keys in sources.rows().items() if key in keys]
        out += [
            f"\n(cited-{key})=\n## {entry.short}\n",
            f"*{entry.title}*: the [entry](#ref-{key}).\n",
            *(
                f"* {name}: {', '.join(found)}"
                for name, found in (("Methods", methods), ("Modules", others), ("Notebooks", books), ("Ledger", rows))
                if found
            ),
        ]
    return "\n".join(out) + "\n"
