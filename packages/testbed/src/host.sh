#!/bin/sh
# A host's power: `host.sh NAME DISK ADDRESS CGROUP`, all below in the host's own namespaces but its first lines.
#
# Makes cgroups named CGROUP, then new namespaces (mount, network, PID, UTS, IPC, cgroup), makes the host's view of the
# machine in them, writes "ready PID" with the process id of the host's first process as seen from outside, and stays for
# as long as the host has power. DISK is the folder that outlives a power failure; ADDRESS is written to /etc/hosts.
set -eu

if [ "${TESTBED_STAGE-}" != inside ]; then
  cgroup=$4
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    folders=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
  else
    # Version 1: a folder in each hierarchy that has a name or a controller.
    folders=$(sed -n 's/^[0-9]*:\(name=\)\{0,1\}\([^:]\{1,\}\):\(.*\)/\/sys\/fs\/cgroup\/\2\3/p' /proc/self/cgroup)
  fi
  for folder in $folders; do
    mkdir -p "$folder/$cgroup"
    # Without processors and memory of its own a cpuset takes no process.
    for file in cpuset.cpus cpuset.mems; do
      [ ! -e "$folder/cgroup.clone_children" ] || [ ! -e "$folder/$file" ] || cat "$folder/$file" >"$folder/$cgroup/$file"
    done
    echo $$ >"$folder/$cgroup/cgroup.procs"
  done
  TESTBED_STAGE=inside
  export TESTBED_STAGE
  exec unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child --propagation private sh "$0" "$@"
fi

# As the /proc of outside has it.
read -r pid _ </proc/self/stat
name=$1
disk=$2
address=$3
unset TESTBED_STAGE

mount -t proc proc /proc
hostname "$name"
ip link set lo up

# What a reboot clears.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
# Each boot has an id of its own.
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id

# What it keeps: the machine's /etc, /root and /var/lib, with the host's own changes. The folders of Warren and containerd
# are not on an overlay, since containerd makes overlays in them, and an overlay can't have its changes in another.
for folder in etc root var/lib; do
  mkdir -p "$disk/upper/$folder" "$disk/work/$folder"
  mount -t overlay -o "lowerdir=/$folder,upperdir=$disk/upper/$folder,workdir=$disk/work/$folder" overlay "/$folder"
done
for folder in warren containerd; do
  mkdir -p "$disk/$folder" "/var/lib/$folder"
  mount --bind "$disk/$folder" "/var/lib/$folder"
done
rm -f /etc/resolv.conf
: >/etc/resolv.conf
printf '%s\n' "$name" >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n198.18.0.1 registry.testbed\n' "$address" "$name" >/etc/hosts

# Its own interfaces and cgroups.
mount -t sysfs sysfs /sys
if grep -q '^[0-9]*:[^:]\{1,\}:' /proc/self/cgroup; then
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  sed -n 's/^[0-9]*:\([^:]\{1,\}\):.*/\1/p' /proc/self/cgroup | while read -r hierarchy; do
    folder="/sys/fs/cgroup/${hierarchy#name=}"
    mkdir -p "$folder"
    case $hierarchy in name=*) hierarchy="none,$hierarchy" ;; esac
    mount -t cgroup -o "$hierarchy" cgroup "$folder"
  done
else
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

echo "ready $pid"
# Processes whose parent ended come to the first one; the kernel clears them away for one that ignores SIGCHLD.
exec perl -e '$SIG{CHLD} = "IGNORE"; exec "sleep", "infinity"' >/dev/null
