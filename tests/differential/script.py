"""A script: what one to three sessions send, step by step, and what happens to the replicas meanwhile. Values, and JSON.

A step is a dict:

    {"on": session, "send": [message...], "cuts": [[offset, pause in ms]...], "wait": bool, "keep": bytes, "alone": bool}
    {"pause": replica} or {"resume": replica}

`cuts` are where its bytes are split into packets; `wait`: until all that is owed has come; `keep`: the last bytes are
sent with the session's next step; `alone`: all others have to be outside of a transaction first (for DDL, which would
wait for them).
"""

import copy
import json

from differential.messages import shown


class Script:
    """`apart`: sessions touch nothing of each other's, and run side by side. Otherwise only one is at work at a time."""

    def __init__(self, sessions: int, steps: list, apart=False, seed=None):
        self.sessions = sessions
        self.steps = steps
        self.apart = apart
        self.seed = seed

    def with_steps(self, steps: list):
        return Script(self.sessions, copy.deepcopy(steps), self.apart, self.seed)

    def messages(self) -> int:
        return sum(len(step.get("send", ())) for step in self.steps)

    def to_json(self) -> str:
        head = {"sessions": self.sessions, "apart": self.apart, "seed": self.seed}
        return "\n".join(json.dumps(line) for line in [head, *self.steps])

    @staticmethod
    def from_json(text: str):
        head, *steps = [json.loads(line) for line in text.splitlines() if line.strip()]
        return Script(head["sessions"], steps, head.get("apart", False), head.get("seed"))

    def __str__(self):
        return "\n".join(_step(step) for step in self.steps)


def _step(step: dict) -> str:
    if "on" not in step:
        return ", ".join(f"{what} replica {which + 1}" for what, which in step.items())
    words = [shown(message) for message in step["send"]]
    words += [f"| cut at {', '.join(str(place) for place, _ in step['cuts'])}"] if step.get("cuts") else []
    words += [f"| keep {step['keep']} bytes"] if step.get("keep") else []
    words += ["| alone"] if step.get("alone") else []
    words += [] if step.get("wait", True) else ["| go on"]
    return f"{step['on']}: {' '.join(words)}"
