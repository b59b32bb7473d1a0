"""A runner on a loop of its own, and agents written into a temporary OCF root."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.host.agents import AgentRunner, AgentSettings

Answer = ev.AgentExited | ev.MetadataLoaded


class Bench:
    """Agents under `root`; `run` performs effects and gives their answers, in the order in which they came."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = AgentSettings(
            run_directory=root / "run",
            ocf_root=root / "ocf",
            resource_directories=(root / "more",),
            fence_directories=(root / "fence",),
            init_directory=root / "init.d",
            working_directory=root,
        )

    def program(self, path: str, text: str, *, executable: bool = True) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755 if executable else 0o644)
        assert bool(place.stat().st_mode & stat.S_IXUSR) == executable
        return place

    def ocf(self, body: str, name: str = "x") -> Path:
        return self.program(f"ocf/resource.d/test/{name}", f"#!/bin/sh\n{body}\n")

    def fence(self, body: str, name: str = "fence_x") -> Path:
        return self.program(f"fence/{name}", f"#!/bin/sh\n{body}\n")

    def run(
        self, *effects: fx.Effect, after: Callable[[AgentRunner], None] | None = None, answers: int = 0
    ) -> list[Answer]:
        """Until as many answers are there as effects that ask for one."""

        async def main() -> list[Answer]:
            got: asyncio.Queue[Answer] = asyncio.Queue()
            runner = AgentRunner(asyncio.get_running_loop(), got.put_nowait, self.settings)
            runner.prepare()
            for effect in effects:
                runner.perform(effect)  # type: ignore[arg-type]
            if after is not None:
                after(runner)
            wanted = answers or sum(not isinstance(effect, fx.KillAgent) for effect in effects)
            found = [await asyncio.wait_for(got.get(), 20) for _ in range(wanted)]
            await asyncio.sleep(0)
            assert got.empty() and not any(self.settings.run_directory.glob("ledger/*"))
            runner.close()
            return found

        return asyncio.run(main())

    def exited(self, *effects: fx.Effect, after: Callable[[AgentRunner], None] | None = None) -> ev.AgentExited:
        answer = self.run(*effects, after=after)[0]
        assert isinstance(answer, ev.AgentExited)
        return answer


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def agent(
    operation: str = "monitor", *, key: str = "k", name: str = "x", timeout_ms: int = 10_000, **more: object
) -> fx.RunAgent:
    values: dict[str, object] = {
        "resource": "r", "agent_class": "ocf", "provider": "test", "interval_ms": 0, "parameters": {}, "meta": {},
    } | more  # fmt: skip
    return fx.RunAgent(key=key, agent=name, operation=operation, timeout_ms=timeout_ms, **values)  # type: ignore[arg-type]
