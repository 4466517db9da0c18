#!/bin/sh
# The tutorial, for real: a Debian root becomes an image, a program is installed in a container of it, the container
# becomes a new image, and the program runs from there.
#
#   examples/commit-a-program.sh [ARIL]        as root; ARIL is the command (default: aril)
#
# Needs debootstrap and a Debian mirror that the host can reach; MIRROR and SUITE choose which. Everything that it makes is
# removed again, except what apt caches.
set -eu
aril=${1:-aril}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
program=${PROGRAM:-vim-tiny}
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }

work=$(mktemp -d)
clean() {
  "$aril" rm -f base >/dev/null 2>&1 || true
  "$aril" rmi -f debian-with-vim:1.0 debian:base >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. a Debian root, and an image of it"
debootstrap --variant=minbase "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
tar -C "$work/root" -c . | "$aril" import -m "debootstrap $suite" -c 'CMD ["bash"]' - debian:base
"$aril" images

say "2. a container that stays, with a shell that waits"
# The host's network, so that apt reaches the mirror as the host does.
"$aril" run -d -it --network host --name base debian:base
"$aril" ps

say "3. install a program in it"
"$aril" exec base sh -c "echo 'deb $mirror $suite main' > /etc/apt/sources.list && apt-get update -qq"
"$aril" exec -e DEBIAN_FRONTEND=noninteractive base apt-get install -y -qq --no-install-recommends "$program" >"$work/log" 2>&1 ||
  { tail "$work/log" >&2; exit 1; }
"$aril" exec base vi --version | head -n 1

say "4. what has changed"
"$aril" diff base >"$work/diff"
grep -c . "$work/diff"
grep -E 'bin/(vi|vim)' "$work/diff" | head -n 3

say "5. a new image of it"
"$aril" commit -m="带 vim 的镜像" -a="wtz" base debian-with-vim:1.0
"$aril" history debian-with-vim:1.0
"$aril" image inspect -f '{{.Author}}: {{.Comment}}, {{len .RootFS.Layers}} layers' debian-with-vim:1.0

say "6. the program runs from the new image, and not from the old one"
"$aril" run --rm debian-with-vim:1.0 sh -c 'echo hello > /tmp/f; vi -es -c "%s/hello/goodbye/" -c wq /tmp/f; cat /tmp/f'
if "$aril" run --rm debian:base sh -c 'command -v vi'; then
  echo "the old image has it too" >&2
  exit 1
fi
say "done"
