"""Look around in a laboratory that was left up: `python -m laboratory enter NODE | list | on NODE | off NODE |
down`."""

from __future__ import annotations

import os
import sys

from .lab import Laboratory
from .machine import LaboratoryError

USAGE = "usage: python -m laboratory enter NODE [COMMAND...] | list | on NODE | off NODE | cut NODE | heal NODE | down"


def main(words: list[str]) -> int:
    found = Laboratory.all_existing()
    if not found:
        print("No laboratory is up. `make demo KEEP=1` leaves one.", file=sys.stderr)
        return 1
    lab = Laboratory.existing(found[-1])
    match words:
        case ["list"]:
            for name, state in lab.order("state")["nodes"].items():
                print(f"{name}  {'on' if state['on'] else 'off'}  {lab.plan.address(name)}")
        case ["enter", node, *command]:
            argv = lab.enter_command(node) + (command or ["bash", "--norc"])
            os.execvpe(argv[0], argv, {**lab.environment(), "TERM": os.environ.get("TERM", "dumb"), "PS1": f"{node}# "})
        case [("on" | "off") as action, node]:
            lab.power_on(node) if action == "on" else lab.power_off(node)
        case [("cut" | "heal") as action, node]:
            lab.cut(node) if action == "cut" else lab.heal(node)
        case ["down"]:
            lab.close()
        case _:
            print(USAGE, file=sys.stderr)
            return 64
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LaboratoryError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
