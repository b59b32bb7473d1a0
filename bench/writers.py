"""Inside a node: CIB writes over connections that stay open, through the library that the commands use.

`writers.py SECONDS`: as many modifications as the cluster acknowledges in that time, one after the other.
"""

from __future__ import annotations

import json
import os
import sys
import time

from quorate.model import protocol
from quorate.tools.client import Connection, request_id, run_dir


def main() -> None:
    until = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(float(sys.argv[1]) * 1e9)
    count = 0
    with Connection(run_dir(os.environ), client="bench") as connection:
        while time.clock_gettime_ns(time.CLOCK_BOOTTIME) < until:
            xml = (
                '<crm_config><cluster_property_set id="cib-bootstrap-options">'
                f'<nvpair id="bench-{os.getpid()}" name="bench-{os.getpid()}" value="{count}"/>'
                "</cluster_property_set></crm_config>"
            )
            key = request_id()
            change = protocol.CibChange(
                serial=connection.next_serial(),
                request=key,
                kind="modify",
                section="crm_config",
                xml=xml.encode(),
                allow_create=True,
            )
            reply = connection.change(change, key)
            if reply.rc:
                sys.exit(f"refused: {reply}")
            count += 1
    print(json.dumps(count))


if __name__ == "__main__":
    main()
