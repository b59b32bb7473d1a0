"""The status of a cluster: one model (`status`), and what it is shown as: text, XML, JSON, HTML."""
