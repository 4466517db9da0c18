# The checks of a host without systemd, in the order in which they run; all on one machine, so each removes what it made.

check_controllers() {
  for controller in cpu cpuset io memory pids; do
    grep -w "$controller" /sys/fs/cgroup/cgroup.controllers
  done
  same "$(grep -c cgroup /proc/mounts)" 1
}

check_run() {
  same "$(aril run --rm --network none box echo hello)" hello
  code=0
  aril run --rm --network none box sh -c 'exit 7' || code=$?
  same $code 7
}

check_info() {
  same "$(aril info -f '{{.CgroupVersion}} {{.CgroupDriver}}')" "2 cgroupfs"
}

check_namespace() {
  same "$(aril run --rm --network none box cat /proc/self/cgroup)" 0::/
  aril run --rm --network none box sh -c 'grep " /sys/fs/cgroup cgroup2 ro," /proc/mounts; ! mkdir /sys/fs/cgroup/x; test -e /sys/fs/cgroup/memory.max'
  same "$(aril run --rm --network none --cgroupns host box sh -c 'cut -d/ -f2 /proc/self/cgroup')" aril
}

check_memory_files() {
  waiting mem -m 32m --memory-reservation 16m
  same "$(cat "$(group mem)/memory.max")" 33554432
  same "$(cat "$(group mem)/memory.low")" 16777216
  # Without a word on swap there is as much of it as of memory.
  same "$(cat "$(group mem)/memory.swap.max")" 33554432
  same "$(aril exec mem cat /sys/fs/cgroup/memory.max)" 33554432
  aril rm -f mem
  waiting mem -m 32m --memory-swap 48m
  same "$(cat "$(group mem)/memory.swap.max")" 16777216
  aril rm -f mem
  waiting mem -m 32m --memory-swap 32m
  same "$(cat "$(group mem)/memory.swap.max")" 0
  aril rm -f mem
  waiting mem -m 32m --memory-swap -1
  same "$(cat "$(group mem)/memory.swap.max")" max
  aril rm -f mem
}

check_memory_kills() {
  code=0
  aril run --network none --name hog -m 16m --memory-swap 16m box tail /dev/zero || code=$?
  same $code 137
  same "$(aril inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' hog)" "true 137"
  aril rm hog
}

check_little_memory() {
  same "$(aril run --rm --network none -m 6m box echo small)" small
}

check_processes() {
  waiting pids --pids-limit 8
  same "$(cat "$(group pids)/pids.max")" 8
  said=$(aril exec pids sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done' 2>&1) || true
  echo "$said" | grep "can't fork"
  grep -E 'max [1-9]' "$(group pids)/pids.events"
  same "$(cat "$(group pids)/pids.current")" 7
  aril rm -f pids
  waiting pids --pids-limit -1
  same "$(cat "$(group pids)/pids.max")" max
  aril rm -f pids
}

check_cpu() {
  waiting cpu --cpus 0.2 --cpuset-cpus 1 --cpu-shares 512
  same "$(cat "$(group cpu)/cpu.max")" "20000 100000"
  same "$(cat "$(group cpu)/cpuset.cpus.effective")" 1
  same "$(cat "$(group cpu)/cpu.weight")" 59
  same "$(nproc) $(aril exec cpu nproc)" "2 1"
  aril exec cpu timeout 2 sh -c 'while :; do :; done' || true
  grep -E 'nr_throttled [1-9]' "$(group cpu)/cpu.stat"
  aril rm -f cpu
  refuse aril run --rm --network none --cpuset-cpus 7 box true
}

check_exec() {
  waiting joined
  before=$(wc -l <"$(group joined)/cgroup.procs")
  aril exec -d joined sleep 999
  until_true sh -c "[ \$(wc -l <$(group joined)/cgroup.procs) = $((before + 1)) ]"
  code=0
  aril exec joined sh -c 'exit 9' || code=$?
  same $code 9
  same "$(aril exec joined cat /proc/self/cgroup)" 0::/
  aril rm -f joined
}

check_pause() {
  aril run -d --network none --name frozen box sh -c 'while :; do echo . >>/count; usleep 10000; done'
  until_true aril exec frozen test -s /count
  aril pause frozen
  same "$(aril inspect -f '{{.State.Status}}' frozen)" paused
  grep -x 'frozen 1' "$(group frozen)/cgroup.events"
  refuse aril exec frozen true
  file=/var/lib/aril/containers/$(aril inspect -f '{{.Id}}' frozen)/upper/count
  count=$(wc -c <"$file")
  usleep 300000
  same "$(wc -c <"$file")" "$count"
  aril unpause frozen
  until_true sh -c "[ \$(wc -c <$file) -gt $count ]"
  aril pause frozen
  aril rm -f frozen
}

check_stats() {
  waiting counted -m 32m
  said=$(aril stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' counted)
  echo "$said" | grep -E '^[0-9.]+(KiB|MiB) / 32MiB 1$'
  aril rm -f counted
}

check_update() {
  waiting changed -m 32m
  aril update -m 48m --memory-swap 64m --pids-limit 12 --cpus 0.5 changed
  same "$(cat "$(group changed)/memory.max")" 50331648
  same "$(cat "$(group changed)/memory.swap.max")" 16777216
  same "$(cat "$(group changed)/pids.max")" 12
  same "$(cat "$(group changed)/cpu.max")" "50000 100000"
  aril rm -f changed
}

check_devices() {
  # Making a node is allowed, opening it is not.
  said=$(aril run --rm --network none box sh -c 'mknod /k c 1 11 && head -c 1 /k' 2>&1) && exit 1
  echo "$said" | grep 'Operation not permitted'
  same "$(aril run --rm --network none box head -c 4 /dev/zero | wc -c)" 4
  aril run --rm --network none --device /dev/kmsg box sh -c 'head -c 1 /dev/kmsg && echo check >/dev/kmsg'
  aril run --rm --network none --device /dev/kmsg:/dev/log:w box sh -c 'echo check >/dev/log; ! head -c 1 /dev/log'
  aril run --rm --network none --device-cgroup-rule 'c 1:11 r' box sh -c 'mknod /k c 1 11 && head -c 1 /k'
  aril run --rm --network none --privileged box sh -c 'head -c 1 /dev/kmsg'
  # What an exec brings in is held by the same program.
  waiting devices
  refuse aril exec devices sh -c 'mknod /k c 1 11 && head -c 1 /k'
  aril rm -f devices
}

check_stop() {
  aril run -d --network none --name stopped box sh -c 'trap "exit 3" TERM; while :; do usleep 10000; done'
  aril stop stopped
  same "$(aril inspect -f '{{.State.ExitCode}} {{.State.Status}}' stopped)" "3 exited"
  aril start stopped
  aril kill stopped
  same "$(aril wait stopped)" 137
  aril rm stopped
}

check_removal() {
  waiting removed
  aril exec -d removed sleep 999
  aril rm -f removed
  same "$(find /sys/fs/cgroup/aril -type d 2>/dev/null)" ""
  same "$(grep -c ' overlay ' /proc/mounts)" 0
  same "$(ls /var/lib/aril/containers /run/aril | grep -E '^[0-9a-f]{64}$')" ""
  same "$(pgrep -f 'sleep (999|1000)')" ""
}

check_death_of_the_monitor() {
  waiting orphan -m 32m
  id=$(aril inspect -f '{{.Id}}' orphan)
  pid=$(aril inspect -f '{{.State.Pid}}' orphan)
  monitor=$(awk '/^PPid/ {print $2}' "/proc/$pid/status")
  kill -9 "$monitor"
  until_true test ! -d "/proc/$monitor"
  aril ps -a 2>&1 | tee /tmp/repair
  grep 'repaired container orphan' /tmp/repair
  grep Exited /tmp/repair
  test ! -d "/sys/fs/cgroup/aril/$id"
  test ! -d "/proc/$pid"
  aril start orphan
  same "$(cat "/sys/fs/cgroup/aril/$id/memory.max")" 33554432
  aril rm -f orphan
}

check_commit() {
  waiting writer
  aril exec writer sh -c 'echo new >/new'
  aril commit writer box:new
  same "$(aril run --rm --network none box:new cat /new)" new
  aril rm -f writer
  aril rmi box:new
}

check_copies() {
  mkdir -p /tmp/shared
  echo shared >/tmp/shared/file
  aril create --name copied -v /tmp/shared:/shared:ro --network none box true
  aril cp copied:/shared/file /tmp/copy
  same "$(cat /tmp/copy)" shared
  refuse aril cp /tmp/copy copied:/shared/other
  aril cp /tmp/copy copied:/copy
  same "$(aril diff copied | tr '\n' ' ')" 'A /copy A /shared '
  same "$(aril run --rm --network none -v /tmp/shared:/shared:ro box sh -c 'cat /shared/file; ! touch /shared/other 2>&1')" \
    "shared
touch: /shared/other: Read-only file system"
  same "$(aril run --rm --network none --mount type=image,source=box,target=/image box ls /image/bin/busybox)" /image/bin/busybox
  aril rm copied
  rm -r /tmp/shared /tmp/copy
}

check_runtime() {
  bundle
  cd /tmp/bundle
  aril-oci create bundled
  aril-oci start bundled
  dir=$(find /sys/fs/cgroup -type d -name bundled)
  same "$(cat "$dir/memory.max" "$dir/pids.max" "$dir/memory.oom.group" | tr '\n' ' ')" "33554432 9 1 "
  aril-oci pause bundled
  same "$(cat "$dir/cgroup.freeze")" 1
  aril-oci resume bundled
  mknod rootfs/log c 1 11
  aril-oci exec bundled sh -c 'echo check >/log'
  refuse aril-oci exec bundled sh -c 'exec </log'
  aril-oci delete --force bundled
  test ! -e "$dir"
  rm -r /tmp/bundle
}

check_runtime_in_user_namespace() {
  bundle ', {"type": "user"}' ', "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]'
  chown -R 100000:100000 /tmp/bundle/rootfs
  cd /tmp/bundle
  aril-oci create bundled
  aril-oci start bundled
  aril-oci exec bundled sh -c 'echo x >/dev/null'
  same "$(aril-oci exec bundled sh -c 'read -r a b c </proc/self/uid_map; echo $a $b $c')" "0 100000 65536"
  aril-oci delete --force bundled
  rm -r /tmp/bundle
}

check_runtime_below_its_cgroup() {
  bundle
  cp /bin/busybox /tmp/bundle/rootfs/bin/mkdir
  sed -i 's|"source": "cgroup", "options": \["ro"\]|"source": "cgroup"|' /tmp/bundle/config.json
  cd /tmp/bundle
  aril-oci create bundled
  aril-oci start bundled
  aril-oci exec bundled mkdir /sys/fs/cgroup/first /sys/fs/cgroup/second
  aril-oci exec bundled sh -c 'echo 1 >/sys/fs/cgroup/first/cgroup.procs'
  where='read -r line </proc/self/cgroup; echo $line'
  same "$(aril-oci exec bundled sh -c "$where")" 0::/
  # From now on nobody may be in the topmost one, so who joins is where the first process is.
  aril-oci exec bundled sh -c 'echo $$ >/sys/fs/cgroup/first/cgroup.procs; echo +memory >/sys/fs/cgroup/cgroup.subtree_control'
  same "$(aril-oci exec bundled sh -c "$where")" 0::/first
  same "$(aril-oci exec --cgroup second bundled sh -c "$where")" 0::/second
  said=$(aril-oci exec --cgroup / bundled sh -c : 2>&1) && exit 1
  echo "$said" | grep ' adding pid .* to cgroups.*/cgroup.procs: device or resource busy'
  said=$(aril-oci exec --cgroup ../x bundled sh -c : 2>&1) && exit 1
  echo "$said" | grep '../x is not a sub cgroup path'
  aril-oci delete --force bundled
  rm -r /tmp/bundle
}

# Kernels and sandboxes without what is newer than 5.10.
old_interfaces() { export ARIL_KERNEL_FALLBACK=mount_setattr,clone_into_cgroup,cgroup.kill,setns_pidfd,detached_exe,overlay,quotactl_fd; }

check_without_new_interfaces() {
  old_interfaces
  same "$(aril run --rm --network none -m 32m box cat /proc/self/cgroup)" 0::/
  waiting old --pids-limit 9
  same "$(cat "$(group old)/pids.max")" 9
  same "$(aril exec old echo joined)" joined
  aril rm -f old
}

check_runtime_without_new_interfaces() {
  old_interfaces
  bundle
  cd /tmp/bundle
  aril-oci create bundled
  aril-oci start bundled
  same "$(aril-oci exec bundled sh -c 'echo joined')" joined
  aril-oci delete --force bundled
  rm -r /tmp/bundle
}

check_end() {
  same "$(aril ps -aq)" ""
  same "$(find /sys/fs/cgroup/aril -type d 2>/dev/null)" ""
  same "$(grep -c ' overlay ' /proc/mounts)" 0
}

# A disk that counts what a container writes; the image goes there too.
check_storage_size() {
  mkdir /disks
  mount -o loop,prjquota /disk /disks
  export ARIL_ROOT=/disks/aril
  tar -C / -c bin/busybox | aril import -c 'CMD ["/bin/busybox", "sh"]' - small
  aril create --name small --storage-opt size=2M --network none small /bin/busybox sh -c \
    'busybox dd if=/dev/zero of=/a bs=1M count=1 2>/dev/null; echo one; busybox dd if=/dev/zero of=/b bs=1M count=2; busybox df -k / | busybox tail -1'
  aril start -a small >/tmp/out 2>&1 || true
  cat /tmp/out
  grep one /tmp/out
  grep -i "disk quota exceeded\|no space left" /tmp/out
  grep -w 2048 /tmp/out
  # Who cannot name a file system by one of its files names its device.
  same "$(old_interfaces; aril create --name other --storage-opt size=3M --network none small true >/tmp/out; aril start -a other; aril rm other)" other
  # Beside it there is room, and none of it is given away for good.
  aril run --rm --network none small /bin/busybox dd if=/dev/zero of=/b bs=1M count=4
  aril rm small
  refuse aril create --storage-opt size=much small
  umount /disks
}
