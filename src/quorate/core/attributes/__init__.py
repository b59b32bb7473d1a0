"""Transient node attributes: dampening before they enter the log."""
