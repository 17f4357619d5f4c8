"""What is known to differ: a name, and a predicate as narrow as it can be. Each use is counted and told. README.md has the
smallest script of each.
"""


KNOWN = []  # (name, predicate of script and difference)


def name_of(script, difference):
    """The known kind that this is, or None."""
    return next((name for name, holds in KNOWN if holds(script, difference)), None)
