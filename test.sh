#!/bin/sh
# Checks everything: format, lints, documentation, and all tests, as root.
#
#   ./test.sh               exit code 0 if all is well
#
# Tests that fail are run once more, one at a time: what passes then depends on luck, which is said loudly at the end, and
# what fails again is an error. Nothing is fetched but the Debian packages below, Debian's kernels for virtual
# machines, the crates of Cargo.lock and Rust's standard library for musl.
set -u
cd "$(dirname "$0")" || exit 1
. .cargo/packages.sh

fail() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '\n==> %s\n' "$*"; }

[ "$(id -u)" = 0 ] || fail "needs root, since containers do: sudo ./test.sh"

# A command or file that tests need, and the Debian package that has it.
needed='
/usr/include/seccomp.h:libseccomp-dev
/usr/include/stdio.h:libc6-dev
/bin/busybox:busybox-static
bash:bash
bats:bats
bzip2:bzip2
cc:gcc
containerd:containerd
cp:coreutils
docker-registry:docker-registry
dockerd:docker.io
dpkg-source:dpkg-dev
fish:fish
gawk:gawk
gzip:gzip
ip:iproute2
iptables-legacy:iptables
jq:jq
mkfs.ext4:e2fsprogs
nft:nftables
openssl:openssl
podman:podman
ps:procps
qemu-system-x86_64:qemu-system-x86
runc:runc
script:bsdutils
setsid:util-linux
skopeo:skopeo
strace:strace
strip:binutils
tar:tar
umoci:umoci
xz:xz-utils
zsh:zsh
zstd:zstd
'
# Tests start the daemons that they need, on machines of their own; RUNLEVEL keeps the packages from starting theirs.
export RUNLEVEL=1
# shellcheck disable=SC2086
packages $needed
unset RUNLEVEL
command -v cargo >/dev/null || { [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"; }
command -v cargo >/dev/null || fail "cargo is missing: install Rust from your system's packages or with rustup, then try again"

# What is installed is what is tested.
CARGO_BUILD_TARGET=$(.cargo/target.sh)
export CARGO_BUILD_TARGET
say "for $CARGO_BUILD_TARGET"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=

# check NAME COMMAND...: all checks run, even after one has failed.
check() {
  name=$1
  shift
  say "$name: $*"
  "$@" </dev/null || wrong="$wrong
  $name"
}

check format cargo fmt --check
check lints cargo clippy --locked --all-targets -- -D warnings
check documentation env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet

# Prints "BINARY TEST" for each failed test of a log, and "BINARY ?" for a binary that has not said how it ended.
failed_tests() {
  awk '
    /^ +(Running|Doc-tests) / {
      if (open) print binary, "?"
      binary = $0; sub(/^[^(]*\(/, "", binary); sub(/\).*/, "", binary)
      if ($1 == "Doc-tests") binary = "doc-tests"
      open = 1
    }
    /^test result: / { open = 0 }
    /^test .* \.\.\. FAILED$/ { name = $0; sub(/^test /, "", name); sub(/ \.\.\. FAILED$/, "", name); print binary, name }
    END { if (open) print binary, "?" }
  ' "$1"
}

say "tests: cargo test --locked --no-fail-fast"
log=$work/log
{ timeout -k 60 2400 cargo test --locked --no-fail-fast </dev/null 2>&1; echo $? > "$work/code"; } | tee "$log"
code=$(cat "$work/code")
lucky=
if [ "$code" != 0 ]; then
  failed_tests "$log" > "$work/failed"
  [ -s "$work/failed" ] || wrong="$wrong
  tests: cargo test ended with $code"
  : > "$work/again"
  while read -r binary test; do
    if [ "$test" = "?" ] || [ ! -x "$binary" ]; then
      wrong="$wrong
  tests: $binary $test"
      continue
    fi
    say "once more: $test"
    # Where cargo runs it: in the root of the package.
    if timeout -k 60 600 "$binary" --exact "$test" --test-threads=1 </dev/null > "$work/one" 2>&1 &&
      grep -q '^test result: ok\. 1 passed' "$work/one"; then
      echo "passed"
      lucky="$lucky
  $test"
    else
      cat "$work/one"
      wrong="$wrong
  test $test"
    fi
  done < "$work/failed"
fi

check "runc's own tests" tests/runc/compare.sh

if [ -n "$lucky" ]; then
  say "FLAKY: these tests failed first and passed alone, which is a bug in them or in aril:$lucky"
fi
if [ -n "$wrong" ]; then
  # Again, since it stands far above by now.
  awk '/^---- .* stdout ----$/ { show = 1 } /^failures:$/ { show = 0 } show' "$log"
  say "FAILED:$wrong"
  exit 1
fi
say "all is well"
