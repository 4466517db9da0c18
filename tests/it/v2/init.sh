#!/bin/busybox sh
# First process of the machine: makes it a host with cgroup v2, runs the checks, and switches it off. With a systemd among
# the programs that one makes the host, and runs this as a service.
export PATH=/bin

# Nothing can pivot away from the initramfs, so the rest happens on a file system of its own.
start() {
  /bin/busybox --install -s /bin
  mkdir -p /dev /new
  mount -t devtmpfs dev /dev
  while read -r module; do insmod "/modules/$module.ko"; done </modules/order
  mount -t tmpfs -o mode=755 root /new
  for name in /*; do
    case $name in /dev | /new | /modules | /root) ;; *) cp -a "$name" /new/ ;; esac
  done
  mkdir -p /new/dev /new/proc /new/sys /new/run /new/tmp /new/etc
  mount -o move /dev /new/dev
  if [ -e /new/lib/systemd/systemd ]; then
    exec switch_root /new /lib/systemd/systemd --unit=checks.service --log-target=console --show-status=0
  fi
  exec switch_root /new /init host
}

make_host() {
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
  mkdir -p /dev/pts /dev/shm
  mount -t devpts devpts /dev/pts
  mount -t tmpfs tmpfs /dev/shm
  hostname machine
  ip link set lo up
}

case ${1-} in
  '') start ;;
  host) make_host ;;
esac

chmod 1777 /tmp
# Whoever may open the kernel's log may read it: it is the device that the checks allow and deny.
echo 0 >/proc/sys/kernel/dmesg_restrict
echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd

BUSYBOX=/bin/busybox /rootfs /tmp/box >/dev/ttyS0 2>&1
tar -C /tmp/box -c . | aril import - box >/dev/ttyS0 2>&1
rm -r /tmp/box

# Each check is a shell of its own, so that -e ends it at the first command that fails.
for name in $(sed -n 's/^check_\([a-z0-9_]*\)() {$/\1/p' /checks); do
  if timeout 150 sh -c "set -eux; . /tools; . /checks; check_$name" >/tmp/said 2>&1 </dev/null; then
    echo "ok $name" >/dev/ttyS1
  else
    echo "=== $name ends with $?" >/dev/ttyS0
    cat /tmp/said >/dev/ttyS0
    echo "failed $name" >/dev/ttyS1
  fi
done
poweroff -f
