#!/bin/bash
# Runs runc's own integration tests, of Debian's source package, against Debian's runc and against aril side by side.
#
#   tests/runc/compare.sh [-a] [FILE.bats...]       as root; -a: aril alone, against the last results of runc
#
# The suite is fetched once and kept below cargo's target directory; nothing of it is installed. Ends with the cases that
# the two differ in. Exit code 0 if aril passes all that runc passes, but for those in tests/runc/known.txt, which says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
fail() { echo "compare.sh: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || fail "needs root"
both=yes
[ "${1:-}" != -a ] || { both=; shift; }
for tool in bats:bats jq:jq gawk:gawk script:bsdutils runc:runc xz:xz-utils dpkg-source:dpkg-dev; do
  command -v "${tool%%:*}" >/dev/null || fail "${tool%%:*} is missing: apt-get install ${tool#*:}"
done

cd "$top"
target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
cargo build --quiet --bins --examples
built=$(cargo build --quiet --message-format json --bins --examples | jq -r 'select(.executable) | .executable')
cache=$target/runc
suite=$cache/suite
if [ ! -d "$suite" ]; then
  work=$cache/work.$$
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  trap 'rm -rf "$work"' EXIT
  # Lists of its own, since most hosts have none of sources.
  . /etc/os-release
  cat > "$work/src.sources" <<SOURCES
Types: deb-src
URIs: ${MIRROR:-http://deb.debian.org/debian}
Suites: $VERSION_CODENAME
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
  apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/src.sources" -o Dir::Etc::SourceParts=/dev/null \
      -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
  }
  apt update
  (cd "$work" && apt source --download-only runc && dpkg-source --no-check -x runc_*.dsc source >/dev/null)
  data=$work/source/tests/integration/testdata
  "$top/rootfs-fixtures/busybox.sh" "$work/busybox"
  # The suite wants user 1000 to have no name.
  sed -i '/^app:/d' "$work/busybox/etc/passwd" "$work/busybox/etc/group"
  arch=$(dpkg --print-architecture)
  # Processes in user namespaces cannot make it.
  mkdir "$work/busybox/dev"
  tar -C "$work/busybox" -cJf "$data/busybox-$arch.tar.xz" .
  # Cases that need a Debian root fail with both.
  tar -cJf "$data/debian-$arch.tar.xz" -T /dev/null
  # All that the suite asks of Go.
  mkdir "$work/source/bin"
  printf '#!/bin/sh\necho %s\n' "$arch" > "$work/source/bin/go"
  chmod +x "$work/source/bin/go"
  mv "$work/source" "$suite"
  rm -rf "$work"
fi
mkdir -p "$suite/aril"
for program in $built; do
  case $program in
    */recvtty | */seccompagent) ln -sf "$program" "$suite/contrib/cmd/${program##*/}/${program##*/}" ;;
    # Called by this name it is a runtime, and says that name where the suite looks for it.
    */aril) ln -sf "$program" "$suite/aril/runc" ;;
  esac
done

cd "$suite/tests/integration"
files=("$@")
if [ ${#files[@]} = 0 ]; then
  for file in *.bats; do
    case $file in
      # Neither is installed: CRIU for checkpoints, sshfs.
      checkpoint.bats | mounts_sshfs.bats) ;;
      *) files+=("$file") ;;
    esac
  done
fi

# run NAME PROGRAM: the results of each file to $cache/NAME/FILE. The suite wants a terminal.
run() {
  mkdir -p "$cache/$1"
  for file in "${files[@]}"; do
    echo "$1: $file" >&2
    RUNC=$2 PATH=$suite/bin:$PATH timeout 900 script -qec "bats -t $file" /dev/null </dev/null | tr -d '\r' > "$cache/$1/$file" || true
  done
}
# The suite leaves empty cgroups of this name, also where it is interrupted.
clean() { find /sys/fs/cgroup -depth -type d -path '*/runc-cgroups-integration-test*' -exec rmdir {} + 2>/dev/null || true; }
trap clean EXIT
[ -z "$both" ] || run runc "$(command -v runc)"
run aril "$suite/aril/runc"

# "ok NAME", "skip NAME" or "failed NAME" for each case.
results() {
  for file in "${files[@]}"; do
    sed -nE -e 's/^ok [0-9]+ (.*) # skip.*/skip '"$file"': \1/p;t' -e 's/^ok [0-9]+ (.*)/ok '"$file"': \1/p' \
      -e 's/^not ok [0-9]+ (.*)/failed '"$file"': \1/p' "$cache/$1/$file"
  done > "$cache/$1.results"
}
# What runc passes and aril does not.
differ() { comm -23 <(sed -n 's/^ok //p' "$cache/runc.results" | sort) <(sed -n 's/^ok //p' "$cache/aril.results" | sort); }
reason() { awk -F ' -- ' -v name="$1" '$1 == name { print $2 }' "$here/known.txt"; }
unknown() { differ | while read -r case; do [ -n "$(reason "$case")" ] || echo "$case"; done; }

results runc
results aril
# A case may have failed since the machine was too busy for its time limits: once more, alone.
again=$(unknown | sed 's/: .*//' | sort -u)
if [ -n "$again" ]; then
  all=("${files[@]}")
  mapfile -t files <<<"$again"
  run aril "$suite/aril/runc"
  files=("${all[@]}")
  results aril
fi

for name in runc aril; do
  echo "$name: $(grep -c '^ok ' "$cache/$name.results") pass, $(grep -c '^failed ' "$cache/$name.results") fail," \
    "$(grep -c '^skip ' "$cache/$name.results") are skipped"
done
while read -r case; do
  [ -z "$case" ] || echo "known: $case -- $(reason "$case")"
done < <(comm -23 <(differ) <(unknown))
[ -z "$(unknown)" ] || {
  unknown | while read -r case; do
    echo "WRONG: $case"
    # What the suite saw.
    awk -v name="${case#*: }" '/^(not )?ok / { show = $0 ~ /^not ok/ && index($0, name) } show' "$cache/aril/${case%%: *}"
  done
  exit 1
}
