"""Citizens' pages: filing a petition, following it, the charter and how well it is kept. Plain HTML, no script.

The one rule: a page tells whoever holds the link to a case what became of it, and never who filed it.
"""
