"""Adds up JUnit files (pytest's and GoogleTest's): "PASSED FAILED SKIPPED" on standard output, the
names of what failed on standard error."""

import re
import sys
import xml.etree.ElementTree as ElementTree


def root_of(path):
    """GoogleTest writes the bytes of test parameters as they are: not always XML."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    return ElementTree.fromstring(re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd]", "?", text))


def count(paths) -> tuple:
    passed = failed = skipped = 0
    for path in paths:
        for case in root_of(path).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                name = f"{case.get('classname')}.{case.get('name')}"
                print(f"   FAILED {name}", file=sys.stderr)
            elif case.find("skipped") is not None or case.get("status") == "notrun":
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    print(*count(sys.argv[1:]))
