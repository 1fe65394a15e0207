#!/bin/bash
# Start a real Slurm on this machine alone: two virtual nodes on loopback with fake GPUs, in one folder.
#
#   tests/cluster/start-slurm.sh FOLDER [--accounting]
#
# Needs root; install-slurm.sh brings Debian's Slurm. Safe to repeat: what runs goes on running.
# Exit status 77: this machine cannot run it, the one line printed says why.
set -euo pipefail

folder=$(realpath -m "${1:?usage: start-slurm.sh FOLDER [--accounting]}")
accounting=${2:-}
etc=$folder/etc run=$folder/run log=$folder/log state=$folder/state
socket=$run/munge/munge.socket
host=$(hostname -s)

skip() { echo "Slurm cannot be started: $*" >&2; exit 77; }

wait_for() {
    for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    echo "no answer in 20 s: $*; see $log" >&2
    return 1
}

alive() { # NAME: is the process that wrote run/NAME.pid still that program?
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${1%%-*}" ]
}

write_configuration() {
    local storage=AccountingStorageType=accounting_storage/none n
    if [ "$accounting" ]; then
        storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass=$socket
AccountingStorageTRES=gres/gpu"
    fi
    for n in 0 1 2; do [ -e "$folder/dev/gpu$n" ] || mknod "$folder/dev/gpu$n" c 1 3; done # as /dev/null
    cat >"$etc/gres.conf" <<END
NodeName=n1 Name=gpu Type=large File=$folder/dev/gpu[0-1]
NodeName=n2 Name=gpu Type=small File=$folder/dev/gpu2
END
    cat >"$etc/slurm.conf" <<END
ClusterName=raymark
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/%n
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd-%n.pid
SlurmctldLogFile=$log/slurmctld.log
SlurmdLogFile=$log/%n.log
# Without systemd there are no cgroups; affinity would pin both nodes to the first core.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
# Jobs above their memory are killed, as a cluster with cgroups would.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc=$log/jobs.txt
# squeue must remember ended jobs until Snakemake has asked for them.
MinJobAge=3600
KillWait=5
# A node that says nothing for so long is down.
SlurmdTimeout=15
GresTypes=gpu
$storage
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=4 RealMemory=16000 Gres=gpu:large:2
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=4 RealMemory=16000 Gres=gpu:small:1
PartitionName=cpu Nodes=n1,n2 Default=YES DefMemPerCPU=500 MaxTime=7-0 State=UP
PartitionName=gpu Nodes=n1,n2 DefMemPerCPU=500 MaxTime=7-0 State=UP
END
    # Snakemake's step inside a job forgets SLURM_CONF, so the usual place has to lead here too.
    mkdir -p /etc/slurm
    ln -sfn "$etc/slurm.conf" /etc/slurm/slurm.conf
    ln -sfn "$etc/gres.conf" /etc/slurm/gres.conf
}

start_munge() {
    [ -s "$etc/munge.key" ] || (umask 077; head -c 1024 /dev/urandom >"$etc/munge.key")
    alive munged || /usr/sbin/munged --key-file="$etc/munge.key" --socket="$socket" \
        --pid-file="$run/munged.pid" --log-file="$log/munged.log" --seed-file="$state/munge/seed"
    wait_for munge -n --socket="$socket"
}

start_accounting() {
    local sql=(mariadb --no-defaults -uroot -S "$run/mysql/socket")
    if ! alive mariadbd; then
        mkdir -p "$state/mysql" "$run/mysql"
        chown mysql: "$state/mysql" "$run/mysql"
        [ -d "$state/mysql/mysql" ] || mariadb-install-db --no-defaults --user=mysql \
            --datadir="$state/mysql" --auth-root-authentication-method=socket >"$log/mysql.log" 2>&1
        setsid /usr/sbin/mariadbd --no-defaults --user=mysql --datadir="$state/mysql" \
            --socket="$run/mysql/socket" --pid-file="$run/mysql/pid" --bind-address=127.0.0.1 \
            --port=13306 --innodb-lock-wait-timeout=900 >"$log/mariadb.log" 2>&1 </dev/null &
        echo $! >"$run/mariadbd.pid"
        wait_for "${sql[@]}" -e 'select 1'
    fi
    "${sql[@]}" -e "create database if not exists slurm;
        create user if not exists slurm@localhost identified by 'slurm';
        grant all on slurm.* to slurm@localhost"
    (umask 077; cat >"$etc/slurmdbd.conf") <<END
AuthType=auth/munge
AuthInfo=socket=$socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
LogFile=$log/slurmdbd.log
PidFile=$run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
CommunicationParameters=NoInAddrAny
END
    ln -sfn "$etc/slurmdbd.conf" /etc/slurm/slurmdbd.conf
    alive slurmdbd || /usr/sbin/slurmdbd
    wait_for timeout 3 sacctmgr -n list cluster
    # Each says so and fails where the entry exists.
    sacctmgr -i add cluster raymark >/dev/null || true
    sacctmgr -i add account lab cluster=raymark >/dev/null || true
    sacctmgr -i add user root account=lab cluster=raymark >/dev/null || true
}

nodes_are_ready() { [ "$(timeout 5 sinfo -h -N -p cpu -o %T | grep -cE '^(idle|mixed|allocated)$')" = 2 ]; }

[ "$(id -u)" = 0 ] || skip "it needs root"
there=$(realpath -m /etc/slurm/slurm.conf)
if [ -e "$there" ] && [ "$there" != "$etc/slurm.conf" ]; then
    skip "this machine has a Slurm configuration already ($there)"
fi
"$(dirname "$0")/install-slurm.sh" $accounting || exit
mkdir -p "$etc" "$run/munge" "$log" "$state"/{ctld,munge,n1,n2} "$folder/dev"
chmod 755 "$folder" "$run" "$run/munge"
getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
write_configuration
start_munge
[ -z "$accounting" ] || start_accounting
alive slurmctld || /usr/sbin/slurmctld
for node in n1 n2; do alive slurmd-$node || /usr/sbin/slurmd -N $node; done
wait_for nodes_are_ready || { sinfo -N -l; sinfo -R; exit 1; }
echo "Slurm $(sinfo -V | cut -d' ' -f2) runs${accounting:+ with accounting}:" \
    "$(sinfo -h -p cpu -N -o '%N %c cores %G' | paste -sd';'); stop-slurm.sh $folder ends it"
