#!/bin/sh
# packages.sh [--optional]: see that the machine has what the laboratory's nodes need: stock resource agents, the demo's
# web server, and the tools that agents and the laboratory call. Missing ones are installed when the user is root; else
# a sentence says what to install (with --optional that is no error: the tests that need them are skipped).
optional=${1:-}
PATH=$PATH:/usr/sbin:/sbin

missing=
need() { # PACKAGE FILE-OR-COMMAND
    case $2 in /*) [ -e "$2" ] ;; *) command -v "$2" >/dev/null ;; esac || missing="$missing $1"
}
need resource-agents /usr/lib/ocf/resource.d/heartbeat/IPaddr2
need nginx-light nginx
need iproute2 ip
need iputils-arping arping
need iputils-ping ping
need procps ps
need psmisc fuser
need nftables nft
need curl curl
need util-linux nsenter
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    if [ "$optional" = --optional ]; then
        echo "The tests in namespaces need root and are skipped (packages they would need:$missing)."
        exit 0
    fi
    echo "This needs root and these packages: run 'sudo apt-get install$missing', then 'sudo make ...'." >&2
    exit 1
fi
command -v apt-get >/dev/null || { echo "Please install by your system's package manager what Debian calls:$missing" >&2; exit 1; }

echo "Installing distribution packages:$missing"
export DEBIAN_FRONTEND=noninteractive
# A package that starts its service at installation must not do so here: the cluster starts it, in its nodes only.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT INT TERM
fi
log=$(mktemp)
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -5 "$log" >&2
    rm -f "$log"
    echo "apt-get could not install:$missing" >&2
    exit 1
fi
rm -f "$log"
case $missing in
*nginx*) [ -d /run/systemd/system ] && systemctl disable --quiet nginx 2>/dev/null ;;
esac
exit 0
