# The checks of a host on which systemd makes the cgroups.

# A bundle whose container is $1 of the slice $2.
unit() {
  bundle "" ", \"cgroupsPath\": \"$2:check:$1\""
  cd /tmp/bundle
}
runtime() { aril-oci --systemd-cgroup "$@"; }

check_systemd() {
  same "$(cat /proc/1/comm)" systemd
  systemctl show --property=Version
}

check_scope() {
  unit one checks-inner.slice
  runtime create one
  runtime start one
  dir=/sys/fs/cgroup/checks.slice/checks-inner.slice/check-one.scope
  same "$(cat $dir/cgroup.procs)" "$(runtime state one | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')"
  same "$(cat $dir/memory.max $dir/pids.max $dir/memory.oom.group | tr '\n' ' ')" "33554432 9 1 "
  same "$(systemctl is-active check-one.scope)" active
  # systemd knows the limits, so what it does when it reloads leaves them as they are; but for memory.oom.group, which it
  # has no property for in scopes before 253.
  same "$(systemctl show --property=MemoryMax check-one.scope)" MemoryMax=33554432
  same "$(systemctl show --property=TasksMax check-one.scope)" TasksMax=9
  same "$(systemctl show --property=Delegate check-one.scope)" Delegate=yes
  systemctl daemon-reload
  same "$(cat $dir/memory.max $dir/pids.max | tr '\n' ' ')" "33554432 9 "
  runtime delete --force one
  test ! -e $dir
  refuse systemctl is-active check-one.scope
  rm -r /tmp/bundle
}

check_devices() {
  unit nodes checks.slice
  runtime create nodes
  runtime start nodes
  mknod rootfs/log c 1 11
  for reload in no yes; do
    runtime exec nodes sh -c 'echo check >/log'
    refuse runtime exec nodes sh -c 'exec </log'
    [ $reload = no ] || break
    systemctl daemon-reload
  done
  runtime delete --force nodes
  rm -r /tmp/bundle
}

check_exec_and_pause() {
  unit frozen checks.slice
  runtime create frozen
  runtime start frozen
  same "$(runtime exec frozen sh -c 'read -r line </proc/self/cgroup; echo $line')" 0::/
  dir=/sys/fs/cgroup/checks.slice/check-frozen.scope
  runtime pause frozen
  same "$(cat $dir/cgroup.freeze)" 1
  runtime resume frozen
  same "$(cat $dir/cgroup.freeze)" 0
  runtime delete --force frozen
  rm -r /tmp/bundle
}

check_update() {
  unit changed checks.slice
  runtime create changed
  runtime start changed
  runtime update --memory 50331648 --pids-limit 12 --cpu-quota 50000 --cpu-period 100000 changed
  dir=/sys/fs/cgroup/checks.slice/check-changed.scope
  systemctl daemon-reload
  same "$(cat $dir/memory.max $dir/pids.max $dir/cpu.max | tr '\n' ' ')" "50331648 12 50000 100000 "
  same "$(systemctl show --property=CPUQuotaPerSecUSec check-changed.scope)" CPUQuotaPerSecUSec=500ms
  runtime delete --force changed
  rm -r /tmp/bundle
}

check_default_slice() {
  bundle
  cd /tmp/bundle
  runtime create plain
  same "$(cat /sys/fs/cgroup/system.slice/aril-plain.scope/pids.max)" 9
  runtime delete --force plain
  refuse systemctl is-active aril-plain.scope
  rm -r /tmp/bundle
}

# A program that ends takes its scope along; what is left is a record.
check_end_of_the_program() {
  unit short checks.slice
  sed -i 's/"args": \["sleep", "1000"\]/"args": ["sh", "-c", "exit 3"]/' config.json
  code=0
  runtime run short || code=$?
  same $code 3
  test ! -e /sys/fs/cgroup/checks.slice/check-short.scope
  refuse systemctl is-active check-short.scope
  rm -r /tmp/bundle
}

check_a_name_that_is_taken() {
  unit twice checks.slice
  runtime create twice
  runtime --root /tmp/other create other 2>/tmp/refused && exit 1
  cat /tmp/refused
  sed -i 's/check:twice/check:third/' config.json
  runtime --root /tmp/other create third
  runtime --root /tmp/other delete --force third
  same "$(systemctl is-active check-twice.scope)" active
  runtime delete --force twice
  rm -r /tmp/bundle
}

# The engine makes its cgroups itself, beside systemd's.
check_engine_beside_systemd() {
  same "$(aril info -f '{{.CgroupDriver}}')" cgroupfs
  waiting beside -m 32m
  same "$(cat "$(group beside)/memory.max")" 33554432
  systemctl daemon-reload
  same "$(cat "$(group beside)/memory.max")" 33554432
  aril rm -f beside
}

# From here on systemd makes those of the engine, too.
check_driver() {
  mkdir -p /etc/aril
  echo '{"exec-opts": ["native.cgroupdriver=systemd"]}' >/etc/aril/daemon.json
  same "$(aril info -f '{{.CgroupDriver}}')" systemd
}

scope() { echo "aril-$(aril inspect -f '{{.Id}}' "$1").scope"; }

check_scope_of_the_engine() {
  waiting scoped -m 32m --pids-limit 20
  name=$(scope scoped)
  dir=/sys/fs/cgroup/system.slice/$name
  same "$(cat "$dir/cgroup.procs")" "$(aril inspect -f '{{.State.Pid}}' scoped)"
  same "$(systemctl show --property=MemoryMax "$name")" MemoryMax=33554432
  same "$(aril exec scoped cat /proc/self/cgroup)" 0::/
  aril update -m 48m --memory-swap 96m scoped
  systemctl daemon-reload
  same "$(cat "$dir/memory.max" "$dir/pids.max" | tr '\n' ' ')" "50331648 20 "
  same "$(aril stats --no-stream --format '{{.MemUsage}}' scoped | sed 's,.* / ,,')" 48MiB
  aril pause scoped
  same "$(cat "$dir/cgroup.freeze")" 1
  aril unpause scoped
  for round in 1 2 3; do
    aril restart -t 0 scoped
    same "$(systemctl is-active "$name")" active
  done
  aril stop -t 0 scoped
  refuse systemctl is-active "$name"
  test ! -e "$dir"
  aril rm scoped
}

check_parent_of_the_engine() {
  waiting sliced --cgroup-parent checks-engine.slice
  test -d "/sys/fs/cgroup/checks.slice/checks-engine.slice/$(scope sliced)"
  aril rm -f sliced
  for parent in /checks checks-.slice; do
    refuse aril create --cgroup-parent $parent box true 2>/tmp/refused
    grep 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"' /tmp/refused
  done
}

# What restarts again and again gets its scope each time.
check_restarts_of_the_engine() {
  aril run -d --network none --name again --restart on-failure:3 box false
  ended() { [ "$(aril inspect -f '{{.RestartCount}} {{.State.Status}}' again)" = "3 exited" ]; }
  until_true ended
  same "$(aril inspect -f '{{.State.Error}}' again)" ""
  aril rm again
}

# A container whose monitor is gone leaves nothing with systemd.
check_killed_monitor() {
  waiting orphan
  name=$(scope orphan)
  id=$(aril inspect -f '{{.Id}}' orphan)
  for process in /proc/[0-9]*; do
    case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
      *monitor*"$id"*) kill -9 "${process#/proc/}" ;;
    esac
  done
  ended() { [ "$(aril inspect -f '{{.State.Status}}' orphan)" = exited ]; }
  until_true ended
  aril rm orphan
  refuse systemctl is-active "$name"
}

check_leftovers() {
  same "$(systemctl list-units --all --plain --no-legend 'check-*' 'aril-*')" ""
  same "$(find /sys/fs/cgroup -name '*.scope' | grep -v init.scope)" ""
}
