"""placeholder"""
from __future__ import annotations
from .document import Cib
def get_option(cib: Cib, name: str) -> str | None:
    for pair in cib.configuration.iterfind("crm_config/cluster_property_set/nvpair"):
        if pair.get("name") == name:
            return pair.get("value")
    return None
