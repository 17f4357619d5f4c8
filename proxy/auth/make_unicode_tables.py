#!/usr/bin/env python3
"""Writes unicode_tables.cpp, the tables behind SASLprep, from Python's Unicode data.

Run by hand, with a Python whose unicodedata is of the version that PostgreSQL 15 uses (14.0, as in
Python 3.11): make_unicode_tables.py > unicode_tables.cpp
"""

import stringprep
import sys
import unicodedata

ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HANGUL = range(0xAC00, 0xAC00 + 11172)  # composed by rule, not by table


def hexes(text) -> str:
    return ",".join(f"{ord(c):X}" for c in text)


def ranges(belongs) -> list:
    """'first-last' or 'only' of each run of characters that belong."""
    runs = []
    for c in (ord(c) for c in ALL if belongs(c)):
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return [f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in runs]


def combining_classes() -> list:
    entries = []
    for value in sorted({unicodedata.combining(c) for c in ALL} - {0}):
        entries += [f"{run}={value:X}" for run in ranges(lambda c: unicodedata.combining(c) == value)]
    return entries


def decompositions() -> list:
    """'c=d,e,...'; 'first-last=d' for a run whose single targets count up too."""
    runs = []
    for c in ALL:
        target = unicodedata.normalize("NFKD", c)
        if target == c or ord(c) in HANGUL:
            continue
        if runs and len(target) == 1:
            first, last, begin = runs[-1]
            steps = ord(c) - ord(first)
            if ord(last) == ord(c) - 1 and len(begin) == 1 and ord(target) == ord(begin) + steps:
                runs[-1][1] = c
                continue
        runs.append([c, c, target])
    return [(hexes(a) if a == b else f"{hexes(a)}-{hexes(b)}") + "=" + hexes(d) for a, b, d in runs]


def compositions() -> list:
    """'first,second=composed' of the pairs that normalization puts together."""
    pairs = []
    for c in ALL:
        canonical = unicodedata.decomposition(c)
        if not canonical or canonical.startswith("<") or unicodedata.normalize("NFC", c) != c:
            continue
        parts = canonical.split()
        if len(parts) == 2:
            pairs.append(f"{int(parts[0], 16):X},{int(parts[1], 16):X}={hexes(c)}")
    return pairs


def write(comment: str, name: str, entries: list) -> None:
    print(f"// {comment}\nconst std::string_view {name} =")
    line = ""
    for entry in entries:
        if len(line) + len(entry) > 90:
            print(f'    "{line}"')
            line = ""
        line += entry + " "
    print(f'    "{line}";\n')


def main() -> None:
    if unicodedata.unidata_version != "14.0.0":
        sys.exit("this Python has Unicode " + unicodedata.unidata_version)
    print("// Written by make_unicode_tables.py from Unicode 14.0.0 and RFC 3454; not edited by hand.")
    print('#include "proxy/auth/unicode_tables.hpp"\n\nnamespace pgsteer::proxy::auth::tables {\n')
    print("// clang-format off")
    write("RFC 3454, A.1: unassigned in Unicode 3.2.", "kUnassigned", ranges(stringprep.in_table_a1))
    write("RFC 3454, D.1: written from right to left.", "kRightToLeft", ranges(stringprep.in_table_d1))
    write("RFC 3454, D.2: written from left to right.", "kLeftToRight", ranges(stringprep.in_table_d2))
    write("Canonical combining classes other than 0.", "kCombiningClasses", combining_classes())
    write("Full compatibility decompositions, without Hangul.", "kDecompositions", decompositions())
    write("Pairs and what they compose to, without Hangul.", "kCompositions", compositions())
    print("// clang-format on\n\n}  // namespace pgsteer::proxy::auth::tables")


main()
