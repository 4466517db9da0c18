# What the checks are written with.

same() { [ "$1" = "$2" ] || { echo "got $1, not $2"; exit 1; }; }
refuse() { if "$@"; then echo "worked: $*"; exit 1; fi; }
# The directory of container $1.
group() { echo "/sys/fs/cgroup/aril/$(aril inspect -f '{{.Id}}' "$1")"; }
# A container called $1 that waits, with the other arguments as options.
waiting() { name=$1; shift; aril run -d --network none --name "$name" "$@" box sleep 1000; }
until_true() { tries=0; until "$@"; do tries=$((tries + 1)); [ $tries -lt 200 ] || { echo "never true: $*"; exit 1; }; usleep 100000; done; }

# A bundle at /tmp/bundle whose program waits; $1 are more namespaces, $2 more of `linux`.
bundle() {
  mkdir -p /tmp/bundle/rootfs/bin /tmp/bundle/rootfs/dev /tmp/bundle/rootfs/proc /tmp/bundle/rootfs/sys
  cp /bin/busybox /tmp/bundle/rootfs/bin/sleep
  cp /bin/busybox /tmp/bundle/rootfs/bin/sh
  cat >/tmp/bundle/config.json <<JSON
{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
 "process": {"user": {"uid": 0, "gid": 0}, "args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}, {"type": "network"}${1-}],
           "maskedPaths": ["/proc/acpi", "/proc/scsi", "/proc/kcore", "/sys/firmware"],
           "resources": {"memory": {"limit": 33554432}, "devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}],
                         "unified": {"pids.max": "9", "memory.oom.group": "1"}}${2-}}}
JSON
}
