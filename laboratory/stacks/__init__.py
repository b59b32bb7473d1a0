"""Cluster stacks that can be put on a laboratory's nodes: this project's, and Corosync with Pacemaker to compare."""

from .configuration import FLOATING, Configuration, web_server_files
from .peer import PeerStack
from .quorate import QuorateStack
from .quorate_corosync import QuorateCorosyncStack
from .stack import Stack, StackError

__all__ = [
    "FLOATING",
    "Configuration",
    "PeerStack",
    "QuorateCorosyncStack",
    "QuorateStack",
    "Stack",
    "StackError",
    "web_server_files",
]
