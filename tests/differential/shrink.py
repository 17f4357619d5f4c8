"""Makes a failing script smaller while it goes on failing in the same way. Pure, but for what `fails` does."""

import copy
import time


class Budget:
    def __init__(self, seconds: float, tries: int):
        self._end = time.monotonic() + seconds
        self._tries = tries

    def spend(self) -> bool:
        self._tries -= 1
        return self._tries >= 0 and time.monotonic() < self._end


def shrink(script, fails, budget: Budget):
    """The smallest script found for which fails(script) is true: messages first, then sessions, then packets."""
    def still_fails(candidate):
        return budget.spend() and fails(candidate)

    script = _shorter(script, still_fails)
    smaller = True
    while smaller:
        before = size(script)
        script = _fewer_messages(script, still_fails)
        script = _fewer_sessions(script, still_fails)
        script = _plainer_steps(script, still_fails)
        smaller = size(script) < before
    return script


def size(script) -> tuple:
    plain = sum(len(step.get("cuts", ())) + bool(step.get("keep")) + ("wait" in step) + bool(step.get("alone")) for step in script.steps)
    return script.messages(), script.sessions, len(script.steps), plain


def _shorter(script, fails):
    """Without what comes behind the failure."""
    good, bad = 0, len(script.steps)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fails(script.with_steps(script.steps[:middle])):
            bad = middle
        else:
            good = middle
    return script.with_steps(script.steps[:bad])


def _fewer_messages(script, fails):
    """Delta debugging over all messages, and what happens to replicas, of all steps."""
    atoms = [(number, place) for number, step in enumerate(script.steps) for place in range(max(1, len(step.get("send", ()))))]
    parts = 2
    while atoms:
        length = max(1, len(atoms) // parts)
        for start in reversed(range(0, len(atoms), length)):
            fewer = atoms[:start] + atoms[start + length:]
            candidate = _only(script, fewer)
            if fails(candidate):
                atoms, parts = fewer, max(2, parts - 1)
                break
        else:
            if length == 1:
                break
            parts = min(len(atoms), parts * 2)
    return _only(script, atoms)


def _only(script, atoms: list):
    steps = []
    for number, step in enumerate(script.steps):
        places = [place for one, place in atoms if one == number]
        if places:
            step = copy.deepcopy(step)
            if "send" in step:
                step["send"] = [step["send"][place] for place in places]
            steps.append(step)
    return script.with_steps(steps)


def _fewer_sessions(script, fails):
    used = sorted({step["on"] for step in script.steps if "on" in step})
    if used and len(used) < script.sessions:
        candidate = script.with_steps(script.steps)
        candidate.sessions = len(used)
        for step in candidate.steps:
            if "on" in step:
                step["on"] = used.index(step["on"])
        if fails(candidate):
            return candidate
    return script


def _plainer_steps(script, fails):
    """Whole packets, waiting after each step, and steps of one session put together."""
    for number in range(len(script.steps)):
        for name in ("cuts", "keep", "wait", "alone"):
            if name in script.steps[number]:
                candidate = script.with_steps(script.steps)
                del candidate.steps[number][name]
                script = candidate if fails(candidate) else script
    number = 0
    while number + 1 < len(script.steps):
        one, other = script.steps[number:number + 2]
        if "on" in one and one["on"] == other.get("on") and not (one.get("alone") or other.get("alone")):
            candidate = script.with_steps(script.steps)
            candidate.steps[number:number + 2] = [{**other, "send": one["send"] + other["send"]}]
            if fails(candidate):
                script = candidate
                continue
        number += 1
    return script
