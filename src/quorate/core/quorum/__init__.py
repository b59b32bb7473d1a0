"""Who may act: the one authority on quorum, and the four rights."""
