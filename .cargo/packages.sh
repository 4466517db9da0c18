# Debian packages that are missing, for the scripts that read this file.

# get PACKAGE ...: installs packages. The lists of a fresh machine are empty or old; with newer ones the second attempt succeeds.
get() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

# packages COMMAND-OR-FILE:PACKAGE ...: installs the packages whose command or file is missing, and tells it by the script's
# own `say` and `fail`.
packages() {
  missing=
  for pair in "$@"; do
    thing=${pair%%:*}
    case $thing in
      /*) [ -e "$thing" ] || missing="$missing ${pair#*:}" ;;
      *) command -v "$thing" >/dev/null || missing="$missing ${pair#*:}" ;;
    esac
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null ||
    fail "these are missing, and this is no Debian or Ubuntu to install them with apt-get:$missing"
  say "installing$missing"
  # shellcheck disable=SC2086
  get $missing || fail "apt-get install failed:$missing"
}
