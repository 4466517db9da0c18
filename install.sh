#!/bin/sh
# Sets aril up on this machine: installs what is missing, builds, installs, and runs a first container.
#
#   ./install.sh            as root
#
# PREFIX (default /usr/local) is where it goes. Nothing is fetched but Debian packages, the crates of Cargo.lock and Rust's
# standard library for musl.
set -eu
cd "$(dirname "$0")"
. .cargo/packages.sh
prefix=${PREFIX:-/usr/local}

say() { printf '==> %s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root, since containers do: sudo ./install.sh"
[ "$(uname -s)" = Linux ] || fail "needs Linux, whose containers these are"

packages cc:gcc /usr/include/stdio.h:libc6-dev /bin/busybox:busybox-static
command -v cargo >/dev/null || { [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"; }
command -v cargo >/dev/null || fail "cargo is missing: install Rust from your system's packages or with rustup, then try again"

CARGO_BUILD_TARGET=$(.cargo/target.sh)
export CARGO_BUILD_TARGET
say "building for $CARGO_BUILD_TARGET"
cargo build --release --locked --quiet
built=${CARGO_TARGET_DIR:-target}/$CARGO_BUILD_TARGET/release/aril
case $(ldd "$built" 2>&1) in
  *"statically linked"* | *"not a dynamic executable"*) ;;
  *) fail "the binary needs shared libraries, which it should not: $(ldd "$built")" ;;
esac

say "installing into $prefix"
install -d "$prefix/bin" "$prefix/lib/systemd/system" "$prefix/share/man/man1" "$prefix/share/bash-completion/completions" \
  "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
# By rename, since running monitors may use the old one.
install -m 755 "$built" "$prefix/bin/.aril.new"
mv -f "$prefix/bin/.aril.new" "$prefix/bin/aril"
ln -sf aril "$prefix/bin/aril-oci"
aril=$prefix/bin/aril
sed "s|/usr/local/bin|$prefix/bin|" contrib/aril.service > "$prefix/lib/systemd/system/aril.service"
"$aril" man --into "$prefix/share/man/man1"
"$aril" completion bash > "$prefix/share/bash-completion/completions/aril"
"$aril" completion zsh > "$prefix/share/zsh/site-functions/_aril"
"$aril" completion fish > "$prefix/share/fish/vendor_completions.d/aril.fish"

if ! "$aril" image inspect busybox >/dev/null 2>&1; then
  say "making the image busybox"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  rootfs-fixtures/busybox.sh "$root/busybox"
  tar -C "$root/busybox" -c . | "$aril" import -m "Debian's static busybox" -c 'CMD ["sh"]' - busybox >/dev/null
fi

say "running a container: aril run --rm busybox echo hello from a container"
"$aril" run --rm busybox echo hello from a container
