#!/usr/bin/env python3
"""PostgreSQL servers of other major versions than Debian's: prints the folder with initdb, pg_ctl and postgres.

    tests/support/versions.py 17
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from support.programs import npm_packages  # noqa: E402
from support.cluster import ROOT  # noqa: E402

_SOURCE = os.path.join(ROOT, "tests", "support", "servers")
_PLACE = os.environ.get("PGSTEER_SERVERS_DIR", os.path.join(ROOT, "build", "servers"))


def bin_folder(version: str) -> str:
    """Of the locked package of that version, installed if need be."""
    folder = os.path.join(npm_packages(_SOURCE, _PLACE), f"postgresql-{version}", "native", "bin")
    if not os.access(os.path.join(folder, "postgres"), os.X_OK):
        raise SystemExit(f"no PostgreSQL {version} among the packages of {_SOURCE}")
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(bin_folder(sys.argv[1]))
