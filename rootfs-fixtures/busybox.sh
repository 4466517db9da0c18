#!/bin/sh
# Makes the smallest useful root filesystem: Debian's static busybox, a link per applet, root and a user.
#
#   busybox.sh DIR     fills the empty or missing folder DIR
#
# Needs the package busybox-static; BUSYBOX names another static busybox.
set -eu
[ $# = 1 ] || { echo "usage: busybox.sh DIR" >&2; exit 2; }
dir=$1
busybox=${BUSYBOX:-/bin/busybox}
[ -x "$busybox" ] || { echo "busybox.sh: $busybox is missing: apt-get install busybox-static" >&2; exit 1; }
if ! "$busybox" true || ldd "$busybox" >/dev/null 2>&1; then
  echo "busybox.sh: $busybox is not static: apt-get install busybox-static" >&2
  exit 1
fi
mkdir -p "$dir"
[ -z "$(ls -A "$dir")" ] || { echo "busybox.sh: $dir is not empty" >&2; exit 1; }
umask 022
mkdir -p "$dir/bin" "$dir/etc" "$dir/root" "$dir/tmp" "$dir/home/app" "$dir/var/tmp" "$dir/usr/bin"
chmod 700 "$dir/root"
chmod 1777 "$dir/tmp" "$dir/var/tmp"
cp "$busybox" "$dir/bin/busybox"
chmod 755 "$dir/bin/busybox"
for applet in $("$busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$dir/bin/$applet"
done
ln -s ../../bin/env "$dir/usr/bin/env"
cat > "$dir/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
app:x:1000:1000:app:/home/app:/bin/sh
PASSWD
cat > "$dir/etc/group" <<'GROUP'
root:x:0:
app:x:1000:
GROUP
chown -R 1000:1000 "$dir/home/app"
