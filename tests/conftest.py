"""Settings for all tests: Hypothesis profiles, and who may make namespaces."""

from __future__ import annotations

import hypothesis
import pytest

from laboratory import needs

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5000, print_blob=True)
hypothesis.settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cluster tests share two cores with everything else: one worker runs them all, one after the other."""
    problem = needs()
    for item in items:
        if item.get_closest_marker("namespaces"):
            item.add_marker(pytest.mark.xdist_group("namespaces"))
            if problem:
                item.add_marker(pytest.mark.skip(reason=problem))
