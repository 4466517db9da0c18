# The checks of a host that has CRIU. A saved program is told from one that was started anew by a word that it has read from a
# file, which is gone when it is restored.

export PATH=/bin:/usr/sbin:/sbin

# A bundle at directory $1, whose program runs script $2; $3 are more mounts, $4 more of `linux`, $5 more of the whole.
box() {
  mkdir -p "$1/rootfs/bin" "$1/rootfs/dev" "$1/rootfs/proc" "$1/rootfs/sys"
  cp /bin/busybox "$1/rootfs/bin/busybox"
  for name in sh sleep usleep cat echo ip hostname grep ls head; do ln -sf busybox "$1/rootfs/bin/$name"; done
  cat >"$1/config.json" <<JSON
{"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "hostname": "box",
 "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "$2"], "cwd": "/", "env": ["PATH=/bin"], "terminal": ${TERMINAL-false},
             "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "mode=1777", "size=64k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}${3-}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"${NETWORK-}}],
           "maskedPaths": ["/proc/acpi", "/proc/scsi", "/proc/kcore", "/proc/timer_list", "/sys/firmware"],
           "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
           "resources": {"memory": {"limit": 67108864}, "pids": {"limit": 30}}${4-}}${5-}}
JSON
}

COUNT='read -r word </word; i=0; while :; do i=$((i + 1)); echo $word $i >/count.new; echo $word $i >/count; usleep 20000; done'
# The number that the program in bundle $1 has come to: one of the two files is whole, wherever it was stopped.
count() { sed -n 's/^secret //p' "$1/rootfs/count.new" "$1/rootfs/count" | sort -n | tail -n 1; }
goes_on() { [ "$(count "$1")" -gt "$2" ]; }

# Starts container $1 of bundle $2, which counts; its word is gone once it has read it.
counting() {
  echo secret >"$2/rootfs/word"
  rm -f "$2/rootfs/count" "$2/rootfs/count.new"
  aril-oci create -b "$2" "$1" </dev/null >/dev/null 2>&1
  aril-oci start "$1"
  until_true grep -q 'secret [5-9]' "$2/rootfs/count"
  rm "$2/rootfs/word"
}
# aril-oci with a log that is shown if it fails, and no descriptor of ours for the container to keep.
quietly() { aril-oci --log /tmp/oci.log "$@" </dev/null >/dev/null 2>&1 || { cat /tmp/oci.log; tail -30 /tmp/img/*.log; exit 1; }; }
gone() { refuse aril-oci state "$1" 2>&1 | grep 'does not exist'; test ! -e "/sys/fs/cgroup/$1"; test ! -e "/run/aril-oci/$1"; }
finish() { aril-oci delete --force "$1"; gone "$1"; rm -rf /tmp/b /tmp/c /tmp/img /tmp/oci.log; test -z "$(grep criu-root /proc/mounts)"; }

check_count_goes_on() {
  box /tmp/b "$COUNT"
  counting one /tmp/b
  aril-oci checkpoint --image-path /tmp/img one
  gone one
  before=$(count /tmp/b)
  same "$(stat -c %a /tmp/img)" 700
  quietly restore -d -b /tmp/b --image-path /tmp/img --pid-file /tmp/pid one
  until_true goes_on /tmp/b "$before"
  same "$(aril-oci state one | grep -c '"running"')" 1
  same "$(aril-oci state one | sed -n 's/.*"pid": \(.*\),/\1/p')" "$(cat /tmp/pid)"
  # Whatever is done to one that was started is done to this one.
  same "$(aril-oci exec one sh -c 'cat /proc/1/cmdline | head -c 2; hostname')" shbox
  same "$(aril-oci exec one cat /proc/self/cgroup)" 0::/
  aril-oci events --stats one | grep '"memory"'
  same "$(cat /sys/fs/cgroup/one/memory.max /sys/fs/cgroup/one/pids.max | tr '\n' ' ')" '67108864 30 '
  aril-oci ps -f json one | grep -w "$(cat /tmp/pid)"
  # The loopback interface is up, as after a start.
  aril-oci exec one ip address show lo | grep 'inet 127.0.0.1'
  aril-oci pause one
  same "$(aril-oci state one | grep -c '"paused"')" 1
  aril-oci resume one
  aril-oci kill one KILL
  until_true sh -c 'aril-oci state one | grep "\"stopped\""'
  aril-oci delete one
  finish one
}

check_again_and_again() {
  box /tmp/b "$COUNT"
  counting one /tmp/b
  for round in 1 2 3; do
    aril-oci checkpoint --image-path /tmp/img --work-path /tmp/img/work one
    gone one
    test -s /tmp/img/work/dump.log
    before=$(count /tmp/b)
    quietly restore -d -b /tmp/b --image-path /tmp/img --work-path /tmp/img/work one
    until_true goes_on /tmp/b "$before"
    # What was left by one that joined is saved with it.
    aril-oci exec one sh -c "sleep 9$round </dev/null >/dev/null 2>&1 &"
  done
  aril-oci exec one sh -c 'cat /proc/[0-9]*/cmdline; :' | tr '\0' ' ' | grep 'sleep 91'
  # A paused one is saved as well.
  aril-oci pause one
  aril-oci checkpoint --image-path /tmp/img one
  gone one
  finish one
}

check_it_may_run_on() {
  box /tmp/b "$COUNT"
  counting one /tmp/b
  aril-oci checkpoint --leave-running --image-path /tmp/img one
  before=$(count /tmp/b)
  until_true goes_on /tmp/b "$before"
  # A second one of it, in a bundle of its own.
  mkdir /tmp/c
  cp -a /tmp/b/rootfs /tmp/b/config.json /tmp/c/
  before=$(count /tmp/c)
  quietly restore -d -b /tmp/c --image-path /tmp/img --manage-cgroups-mode ignore two
  until_true goes_on /tmp/c "$before"
  same "$(aril-oci list -q | tr '\n' ' ')" 'one two '
  for name in one two; do
    grep "^0::/$name$" "/proc/$(aril-oci state $name | sed -n 's/.*"pid": \(.*\),/\1/p')/cgroup"
  done
  aril-oci delete --force two
  finish one
}

check_changes_of_memory() {
  box /tmp/b "$COUNT"
  counting one /tmp/b
  mkdir /tmp/img
  refuse aril-oci checkpoint --parent-path /tmp/img --image-path /tmp/img/last one 2>&1 | grep -e '--parent-path must be relative'
  refuse aril-oci checkpoint --parent-path ../nosuch --image-path /tmp/img/last one 2>&1 | grep -e 'invalid --parent-path'
  aril-oci checkpoint --pre-dump --image-path /tmp/img/first one
  same "$(aril-oci state one | grep -c '"running"')" 1
  aril-oci checkpoint --parent-path ../first --image-path /tmp/img/last one
  gone one
  test -e /tmp/img/last/parent
  before=$(count /tmp/b)
  quietly restore -d -b /tmp/b --image-path /tmp/img/last one
  until_true goes_on /tmp/b "$before"
  finish one
}

check_terminal() {
  TERMINAL=true box /tmp/b 'read -r word; while read -r line; do echo $word $line; done; exit 3'
  mkfifo /tmp/in /tmp/in2
  aril-oci run -b /tmp/b one </tmp/in >/tmp/out 2>&1 &
  exec 5>/tmp/in
  echo secret >&5
  echo first >&5
  until_true grep 'secret first' /tmp/out
  aril-oci checkpoint --image-path /tmp/img one
  exec 5>&-
  wait
  gone one
  aril-oci restore -b /tmp/b --image-path /tmp/img one </tmp/in2 >/tmp/out2 2>&1 &
  restored=$!
  exec 5>/tmp/in2
  echo second >&5
  until_true grep 'secret second' /tmp/out2
  same "$(aril-oci exec one ls -l /proc/1/fd | grep -c /dev/pts/0)" 3
  # The end of its input is its end, and its exit status that of who has restored it.
  exec 5>&-
  code=0
  wait $restored || code=$?
  same $code 3
  finish one
  rm /tmp/in /tmp/in2 /tmp/out /tmp/out2
}

check_pipes_from_outside() {
  box /tmp/b 'read -r word; while read -r line; do echo $word $line; done'
  mkfifo /tmp/in1 /tmp/in2 /tmp/in3
  cat /tmp/in1 | aril-oci create -b /tmp/b one 2>&1 | cat >/tmp/out1 &
  exec 5>/tmp/in1
  until_true aril-oci state one
  aril-oci start one
  echo secret >&5
  echo first >&5
  until_true grep 'secret first' /tmp/out1
  # A second time with the pipes that it has then.
  for next in 2 3; do
    aril-oci checkpoint --image-path /tmp/img one
    exec 5>&-
    wait
    gone one
    grep '"pipe:\[' /tmp/img/descriptors.json
    cat /tmp/in$next | aril-oci restore -d -b /tmp/b --image-path /tmp/img one 2>&1 | cat >/tmp/out$next &
    exec 5>/tmp/in$next
    until_true aril-oci state one
    echo number $next >&5
    until_true grep "secret number $next" /tmp/out$next
  done
  finish one
  rm /tmp/in? /tmp/out?
}

check_mounts_and_namespaces() {
  mkdir -p /tmp/vol/sub
  echo host >/tmp/vol/file
  # A network that others have made.
  unshare -n sleep 1000 </dev/null >/dev/null 2>&1 &
  other=$!
  until_true sh -c "[ \$(readlink /proc/$other/ns/net) != \$(readlink /proc/self/ns/net) ]"
  mounts=', {"destination": "/real", "source": "/tmp/vol", "options": ["rbind", "ro"]}, {"destination": "/link/sub", "source": "/tmp/vol/sub", "options": ["bind"]}'
  NETWORK=", \"path\": \"/proc/$other/ns/net\"" box /tmp/b "$COUNT" "$mounts"
  ln -s /real /tmp/b/rootfs/link
  counting one /tmp/b
  aril-oci checkpoint --image-path /tmp/img one
  gone one
  before=$(count /tmp/b)
  # Mount points that are missing are made.
  rmdir /tmp/b/rootfs/real
  echo newer >/tmp/vol/file
  quietly restore -d -b /tmp/b --image-path /tmp/img one
  until_true goes_on /tmp/b "$before"
  same "$(aril-oci exec one cat /real/file)" newer
  refuse aril-oci exec one sh -c 'echo x >/real/file'
  aril-oci exec one sh -c 'echo x >/real/sub/file'
  same "$(cat /tmp/vol/sub/file)" x
  pid=$(aril-oci state one | sed -n 's/.*"pid": \(.*\),/\1/p')
  same "$(readlink "/proc/$pid/ns/net")" "$(readlink "/proc/$other/ns/net")"
  # What is masked stays so, and what cannot be written.
  same "$(aril-oci exec one sh -c 'cat /proc/kcore /proc/timer_list; ls /proc/acpi; ls /sys/firmware')" ""
  refuse aril-oci exec one sh -c 'echo 1 >/proc/sys/kernel/sysrq'
  finish one
  kill $other
  rm -r /tmp/vol
}

check_user_namespace() {
  maps='[{"containerID": 0, "hostID": 0, "size": 65536}]'
  NETWORK='}, {"type": "user"' box /tmp/b "$COUNT" '' ", \"uidMappings\": $maps, \"gidMappings\": $maps"
  counting one /tmp/b
  aril-oci checkpoint --image-path /tmp/img one
  gone one
  before=$(count /tmp/b)
  quietly restore -d -b /tmp/b --image-path /tmp/img one
  until_true goes_on /tmp/b "$before"
  finish one
}

check_cgroups() {
  bundle
  cd /tmp/bundle
  aril-oci run -d one </dev/null >/dev/null 2>&1
  for mode in ignore soft full; do
    aril-oci checkpoint --manage-cgroups-mode $mode --image-path /tmp/img one
    gone one
    quietly restore -d --manage-cgroups-mode $mode --image-path /tmp/img one
    same "$(cat /sys/fs/cgroup/one/memory.max /sys/fs/cgroup/one/pids.max | tr '\n' ' ')" '33554432 9 '
    same "$(aril-oci exec one sh -c 'read -r line </proc/self/cgroup; echo $line')" 0::/
    pid=$(aril-oci state one | sed -n 's/.*"pid": \(.*\),/\1/p')
    test "$(readlink "/proc/$pid/ns/cgroup")" != "$(readlink /proc/self/ns/cgroup)"
    # Rules for devices are those of the configuration.
    mknod "rootfs/log$mode" c 1 11
    aril-oci exec one sh -c "echo check >/log$mode"
    refuse aril-oci exec one sh -c "exec </log$mode"
  done
  finish one
  rm -r /tmp/bundle
}

check_hooks() {
  hook='"path": "/bin/sh", "args": ["sh", "-c", '
  hooks=", \"hooks\": {\"createRuntime\": [{$hook\"cat >/tmp/created\"]}], \"poststart\": [{$hook\"echo >/tmp/started\"]}], \"poststop\": [{$hook\"echo >>/tmp/stopped\"]}]}"
  box /tmp/b "$COUNT" '' '' "$hooks"
  counting one /tmp/b
  aril-oci checkpoint --image-path /tmp/img one
  same "$(wc -l </tmp/stopped)" 1
  rm /tmp/created /tmp/started
  quietly restore -d -b /tmp/b --image-path /tmp/img one
  grep '"status":"creating"' /tmp/created
  grep "\"pid\":$(aril-oci state one | sed -n 's/.*"pid": \(.*\),/\1/p')," /tmp/created
  test ! -e /tmp/started
  # With one that fails nothing runs, and nothing is left.
  aril-oci checkpoint --image-path /tmp/img one
  sed -i 's|cat >/tmp/created|exit 7|' /tmp/b/config.json
  refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
  grep 'error running createRuntime hook #0: /bin/sh: exit status 7' /tmp/answer
  same "$(wc -l </tmp/stopped)" 3
  finish one
  rm /tmp/created /tmp/stopped /tmp/answer
}

check_failures_are_explained() {
  box /tmp/b "$COUNT"
  echo secret >/tmp/b/rootfs/word
  # A file of the host is nothing that could be restored.
  aril-oci create -b /tmp/b one </dev/null >/tmp/file 2>&1
  refuse aril-oci checkpoint --image-path /tmp/img one 2>/tmp/answer
  grep 'container cannot be checkpointed in created state' /tmp/answer
  aril-oci start one
  code=0
  aril-oci checkpoint --image-path /tmp/img --work-path /tmp/img/work one 2>/tmp/answer || code=$?
  cat /tmp/answer
  same $code 1
  grep 'aril-oci: criu dump failed: .*mount.* (see /tmp/img/work/dump.log)' /tmp/answer
  same "$(aril-oci state one | grep -c '"running"')" 1
  refuse aril-oci restore -b /tmp/b --image-path /tmp/nosuch two 2>&1 | grep 'open /tmp/nosuch: '
  refuse aril-oci restore -b /tmp/b --image-path /tmp one 2>&1 | grep 'container with given ID already exists'
  mkdir /tmp/empty
  echo '[]' >/tmp/empty/descriptors.json
  refuse aril-oci restore -b /tmp/b --image-path /tmp/empty two 2>/tmp/answer
  grep 'aril-oci: criu restore failed: ' /tmp/answer
  gone two
  refuse env PATH=/bin aril-oci checkpoint --image-path /tmp/img one 2>/tmp/answer
  grep 'criu is not installed' /tmp/answer
  finish one
  rm -r /tmp/file /tmp/answer /tmp/empty
}

# What was saved may be anybody's: the runtime reads nothing of it through links, takes no mount and no annotation from it, and
# lets nothing run that is not where the configuration says.
check_cve_2024_8676_2026_50195_and_2026_53489_images_reach_nothing_of_the_host() {
  mkdir /tmp/host
  echo untouched >/tmp/host/file
  box /tmp/b "$COUNT" ', {"destination": "/vol", "source": "/tmp/host", "options": ["bind"]}' '' ', "annotations": {"org.criu.config": "/tmp/host/file"}'
  # The annotation is the configuration's, and names a file of settings.
  echo log-file other.log >/tmp/host/file
  counting one /tmp/b
  aril-oci checkpoint --image-path /tmp/img one
  gone one
  test -s /tmp/img/other.log
  echo untouched >/tmp/host/file
  # A configuration without the mount: the one that was saved is not made.
  box /tmp/b "$COUNT"
  refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
  grep 'criu restore failed' /tmp/answer
  gone one
  # What was saved is files: no link is followed, to read or to write, and no FIFO waited for.
  cp -a /tmp/img /tmp/saved
  for name in descriptors.json pages-1.img stats-restore restore.log; do
    rm -f "/tmp/img/$name"
    ln -s /tmp/host/file "/tmp/img/$name"
    refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
    grep "/tmp/img/$name is a symbolic link" /tmp/answer
    rm "/tmp/img/$name"
    mkfifo "/tmp/img/$name"
    refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
    grep "/tmp/img/$name is a FIFO" /tmp/answer
    rm -r /tmp/img
    cp -a /tmp/saved /tmp/img
  done
  rm -r /tmp/img /tmp/saved
  mkdir /tmp/img
  ln -s /tmp/host/file /tmp/img/core-1.img
  counting one /tmp/b
  refuse aril-oci checkpoint --image-path /tmp/img one 2>&1 | grep '/tmp/img/core-1.img is a symbolic link'
  rm /tmp/img/core-1.img
  aril-oci checkpoint --image-path /tmp/img one
  gone one
  # Nor is one followed that takes a file's place while CRIU is at work, as here by a hook in the middle of it; and streams that
  # are said to be files of the host are not.
  swapped() { box /tmp/b "$COUNT" '' '' ", \"hooks\": {\"createRuntime\": [{\"path\": \"/bin/ln\", \"args\": [\"ln\", \"-sf\", \"/tmp/host/file\", \"/tmp/img/$1\"]}]}"; }
  swapped stats-restore
  echo '["/tmp/host/file", "/tmp/host/file", "file:[1]"]' >/tmp/img/descriptors.json
  before=$(count /tmp/b)
  quietly restore -d -b /tmp/b --image-path /tmp/img one
  until_true goes_on /tmp/b "$before"
  same "$(readlink /tmp/img/stats-restore)" /tmp/host/file
  same "$(cat /tmp/host/file)" untouched
  same "$(aril-oci exec one ls -l /proc/1/fd | grep -c host/file)" 0
  aril-oci delete --force one
  rm /tmp/img/stats-restore
  swapped pages-1.img
  refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
  grep 'pages-1.img: Too many levels of symbolic links' /tmp/answer
  gone one
  same "$(cat /tmp/host/file)" untouched
  rm -r /tmp/img
  box /tmp/b "$COUNT"
  # Saved on the host's network, it does not get there again if it is to have one of its own.
  sed -i 's|, {"type": "network"}||' /tmp/b/config.json
  counting one /tmp/b
  aril-oci checkpoint --image-path /tmp/img one
  box /tmp/b "$COUNT"
  refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
  grep 'what was saved has no net namespace of its own' /tmp/answer
  gone one
  same "$(ls /tmp/host) $(cat /tmp/host/file)" 'file untouched'
  rm -r /tmp/b /tmp/img /tmp/host /tmp/answer
}

# Saved with more than the configuration that it is restored into gives, it is not let go on: $1 changes the configuration that
# it is saved with, $2 the other one, $3 is what is said.
check_cve_2024_8676_and_2026_53492_nothing_has_more_than_its_configuration() {
  changed() {
    box /tmp/b "$COUNT"
    sed -i "$1" /tmp/b/config.json
    counting one /tmp/b
    aril-oci checkpoint --image-path /tmp/img one
    gone one
    before=$(count /tmp/b)
    box /tmp/b "$COUNT"
    sed -i "$2" /tmp/b/config.json
    refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
    cat /tmp/answer
    grep "$3" /tmp/answer
    gone one
    same "$(count /tmp/b)" "$before"
    rm -r /tmp/b /tmp/img /tmp/answer
  }
  changed 's/"CAP_KILL"/"CAP_KILL", "CAP_SYS_ADMIN"/g' '' 'process 1 (sh) of what was saved has capabilities that the configuration does not give: CAP_SYS_ADMIN'
  changed '' 's/"cwd": /"noNewPrivileges": true, "cwd": /' 'can get new privileges, which the configuration forbids'
  changed 's|"/proc/kcore", ||' '' 'what was saved has /proc/kcore not masked, as the configuration wants it'
  changed 's|, "/proc/sysrq-trigger"||' '' 'what was saved has /proc/sysrq-trigger not read only, as the configuration wants it'
  changed 's|"source": "sysfs", "options": \["ro"\]|"source": "sysfs"|' '' 'what was saved has a mount of type sysfs on /sys that the configuration does not have'
  changed 's|"mounts": \[|"mounts": [{"destination": "/more", "type": "proc", "source": "proc"}, |' '' 'what was saved has a mount of type proc on /more that the configuration does not have'
  # CRIU makes no mount that it has not saved.
  mkdir /tmp/more
  changed '' 's|"mounts": \[|"mounts": [{"destination": "/more", "source": "/tmp/more", "options": ["bind"]}, |' 'what was saved has no mount on /more, which the configuration asks for'
  rmdir /tmp/more
  # By one that joined it with more.
  box /tmp/b "$COUNT"
  counting one /tmp/b
  aril-oci exec --cap CAP_SYS_ADMIN one sh -c 'sleep 95 </dev/null >/dev/null 2>&1 &'
  aril-oci checkpoint --image-path /tmp/img one
  refuse aril-oci restore -d -b /tmp/b --image-path /tmp/img one </dev/null >/tmp/answer 2>&1
  grep '(sleep) of what was saved has capabilities that the configuration does not give: CAP_SYS_ADMIN' /tmp/answer
  gone one
  # Where the configuration leaves mounts to the container, they are its own.
  sed -i 's/"CAP_KILL"/"CAP_KILL", "CAP_SYS_ADMIN"/g' /tmp/b/config.json
  sed -i 's|"/proc/kcore", ||' /tmp/b/config.json
  before=$(count /tmp/b)
  quietly restore -d -b /tmp/b --image-path /tmp/img one
  until_true goes_on /tmp/b "$before"
  finish one
}

check_end() {
  same "$(aril-oci list -q)" ""
  same "$(find /sys/fs/cgroup -mindepth 1 -type d)" ""
  same "$(ls /run/aril-oci)" ""
}
