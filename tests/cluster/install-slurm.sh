#!/bin/bash
# Install Debian's Slurm, started by nothing. Safe to repeat.
#
#   tests/cluster/install-slurm.sh [--accounting]
#
# Exit status 77: it cannot be installed here, the one line printed says why.
set -euo pipefail

skip() { echo "Slurm cannot be installed: $*" >&2; exit 77; }

packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge iproute2)
[ "${1:-}" ] && packages+=(slurmdbd slurm-wlm-mysql-plugin mariadb-server)
dpkg -s "${packages[@]}" >/dev/null 2>&1 && exit
[ "$(id -u)" = 0 ] || skip "it needs root"
command -v apt-get >/dev/null || skip "it needs Debian's packages ${packages[*]}"

# The packages' own services would start daemons of their own.
policy=/usr/sbin/policy-rc.d log=$(mktemp)
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
{ apt-get update && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1 ||
    skip "apt-get install ${packages[*]} failed: $(tail -n 1 "$log"), see $log"
rm -f "$log"
