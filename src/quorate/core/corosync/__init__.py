"""Views and messages on top of Corosync: what its closed process groups leave open is agreed here.

See docs/corosync.md and docs/decisions/0050-views-on-corosync.md."""
