"""One log over agreed views: the same state on every member, and when an entry counts as committed."""
