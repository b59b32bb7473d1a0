"""`python -m quorate.model.options` prints the reference page."""

from . import reference_page

print(reference_page(), end="")
