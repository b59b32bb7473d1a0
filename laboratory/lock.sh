#!/bin/sh
# lock.sh PYTHON: write requirements.lock and requirements-dev.lock: the newest versions that pyproject.toml allows.
set -e
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$1" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check .
{ sed -n 1p requirements.lock; "$place/venv/bin/pip" freeze --exclude quorate; } >"$place/run"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check '.[dev]'
{ sed -n 1p requirements-dev.lock; "$place/venv/bin/pip" freeze --exclude quorate; } >"$place/dev"
mv "$place/run" requirements.lock
mv "$place/dev" requirements-dev.lock
