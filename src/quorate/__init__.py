"""quorate: a high-availability cluster stack."""
