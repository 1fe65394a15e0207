#!/bin/bash
# End what start-slurm.sh started in FOLDER, and nothing else. Safe to repeat.
#
#   tests/cluster/stop-slurm.sh FOLDER
set -uo pipefail

folder=$(realpath -m "${1:?usage: stop-slurm.sh FOLDER}")

end() { # NAME: end the process that wrote run/NAME.pid if it still is that program
    local pid
    pid=$(cat "$folder/run/$1.pid" 2>/dev/null) || return 0
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${1%%-*}" ]; then
        kill "$pid"
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null
    fi
    rm -f "$folder/run/$1.pid"
}

ours() { [ "$(realpath -m "/etc/slurm/$1")" = "$folder/etc/$1" ]; }

if ours slurm.conf && [ -s "$folder/run/slurmctld.pid" ]; then
    timeout 10 scancel --user=root
    sleep 1
fi
for name in slurmd-n1 slurmd-n2 slurmctld slurmdbd mariadbd munged; do end $name; done
for file in slurm.conf gres.conf slurmdbd.conf; do ours $file && rm -f "/etc/slurm/$file"; done
echo "Slurm of $folder has ended"
