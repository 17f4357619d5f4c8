"""What is known to differ: a name, and a predicate as narrow as it can be. Each use is counted and told. README.md has the
smallest script of each.
"""


def _is_healed(script, found) -> bool:
    """A statement of whose columns its client was never told is prepared anew behind DDL. By nature, not a fault."""
    if found.what != "messages" or found.expected != "E ERROR 0A000" or "cached plan must not" not in found.detail:
        return False
    messages = [message for step in script.steps if step.get("on") == found.session for message in step["send"]]
    described = {message[2] for message in messages if message[:2] == ["D", "S"]}
    portals = {message[2] for message in messages if message[:2] == ["D", "P"]}
    bound = {(message[1], message[2]) for message in messages if message[0] == "B"}
    told = described | {name for portal, name in bound if portal in portals}
    by_sql = any(message[0] in "QP" and "EXECUTE " in message[-1 if message[0] == "Q" else 2] for message in messages)
    return by_sql or any(name not in told for _, name in bound)


KNOWN = [  # (name, predicate of script and difference)
    ("made anew behind DDL for a client that was never told of its columns", _is_healed),
]


def name_of(script, difference):
    """The known kind that this is, or None."""
    return next((name for name, holds in KNOWN if holds(script, difference)), None)
