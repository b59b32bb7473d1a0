"""Which conditions make it safe to take over from an absent node, and which of them hold."""
