"""What is known to differ: a name, and a predicate as narrow as it can be. Each use is counted and told. README.md has the
smallest script of each.
"""


def _is_too_late_for_its_modes(_script, found) -> bool:
    """BEGIN or SET TRANSACTION behind a read: the open request has gone from its replica to the primary in between."""
    return found.what == "messages" and (found.expected, found.got) == ("E ERROR 25001", "C") and (
        "must be called before any query" in found.detail)


def _is_portal_left_behind(script, found) -> bool:
    """On the replica, where it was executed in part."""
    in_parts = any(message[0] == "E" and message[2] > 0 for step in script.steps for message in step.get("send", ()))
    through = found.detail.partition("through:")[2]
    return found.what == "messages" and found.got == "E ERROR 34000" and in_parts and 'M=portal "' in through


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
    ("modes of a transaction behind a flushed read", _is_too_late_for_its_modes),
    ("a portal that was executed in part on a replica", _is_portal_left_behind),
]


def name_of(script, difference):
    """The known kind that this is, or None."""
    return next((name for name, holds in KNOWN if holds(script, difference)), None)
