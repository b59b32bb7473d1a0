#!/bin/sh
# environment.sh PYTHON DIRECTORY: make a virtual environment with pip in it, on a machine that may lack the venv package.
python=$1 directory=$2
"$python" -m venv --clear "$directory" >/dev/null 2>&1 && exit 0
version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $version (needed for .venv)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "$version" >/dev/null
fi
"$python" -m venv --clear "$directory" >/dev/null && exit 0
echo "No virtual environment could be made: as root, run 'apt-get install $version', then try again." >&2
exit 1
