#!/bin/sh
# The way of an image, for real: Debian with nginx becomes an image, goes to a registry, is removed, comes back through a
# mirror that daemon.json names, and serves a page on a port of the host.
#
#   examples/nginx-through-a-mirror.sh [ARIL]        as root; ARIL is the command (default: aril)
#
# Needs debootstrap, curl, docker-registry (the registry of the distribution project), and a Debian mirror that the host can
# reach; MIRROR and SUITE choose which. REGISTRY_PORT and WEB_PORT have to be free. It has a store and a daemon.json of its
# own, which are removed again, so images and containers of this machine are left alone.
set -eu
aril=${1:-aril}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
registry=127.0.0.1:${REGISTRY_PORT:-5000}
port=${WEB_PORT:-8080}
for program in debootstrap curl docker-registry; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install $program" >&2; exit 1; }
done
case $aril in */*) aril=$(realpath "$aril") ;; esac

work=$(mktemp -d)
export ARIL_ROOT="$work/store" ARIL_RUN="$work/run" ARIL_CONFIG_FILE="$work/daemon.json"
server=
clean() {
  for name in $("$aril" ps -aq 2>/dev/null); do "$aril" rm -f "$name" >/dev/null 2>&1 || true; done
  [ -z "$server" ] || kill "$server" || true
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { echo "$*" >&2; exit 1; }
quietly() { "$@" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }; }

# Waits until something answers at a URL.
wait_for() {
  for _ in $(seq 100); do
    if curl -sf -o /dev/null "$1"; then return; fi
    sleep 0.1
  done
  fail "nothing answers at $1"
}

say "1. a registry on this machine, which daemon.json names as the mirror of Docker Hub"
cat >"$work/registry.yml" <<EOF
version: 0.1
log: {accesslog: {disabled: false}, level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: $registry}
EOF
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
server=$!
cat >"$ARIL_CONFIG_FILE" <<EOF
{
  "registry-mirrors": ["http://$registry"]
}
EOF
cat "$ARIL_CONFIG_FILE"
wait_for "http://$registry/v2/"
kill -0 "$server" || fail "port $registry is taken: $(tail -n 1 "$work/registry.log")"
# It ends with 1 if the Internet is out of reach, which is no harm here.
"$aril" mirror test || true

say "2. an image of Debian, and one of it with nginx"
quietly debootstrap --variant=minbase "$suite" "$work/root" "$mirror"
tar -C "$work/root" -c . | "$aril" import -c 'CMD ["bash"]' - debian:base
rm -rf "$work/root"
# The host's network, so that apt reaches the mirror as the host does.
"$aril" run -d -it --network host --name base debian:base
quietly "$aril" exec base sh -c "echo 'deb $mirror $suite main' > /etc/apt/sources.list && apt-get update -qq"
quietly "$aril" exec -e DEBIAN_FRONTEND=noninteractive base apt-get install -y -qq --no-install-recommends nginx-light
"$aril" exec base sh -c "apt-get clean && rm -rf /var/lib/apt/lists/* &&
  sed -i 's/listen 80 /listen $port /; s/listen \[::\]:80 /listen [::]:$port /' /etc/nginx/sites-available/default &&
  echo '<h1>It came through a mirror.</h1>' > /var/www/html/index.html"
"$aril" commit -c 'CMD ["nginx", "-g", "daemon off;"]' -c "EXPOSE $port" base "$registry/library/nginx"
"$aril" rm -f base
"$aril" images

say "3. it goes to the registry, and nothing of it stays here"
"$aril" push "$registry/library/nginx"
"$aril" rmi "$registry/library/nginx" debian:base >/dev/null
[ -z "$("$aril" images -q)" ] || fail "an image is left"

say "4. it comes back under its name at Docker Hub, through the mirror"
"$aril" pull nginx
grep -q 'GET /v2/library/nginx/blobs/' "$work/registry.log" || fail "the mirror was not asked"
"$aril" images --digests

say "5. it serves a page on a port of the host"
"$aril" run -d --name web --network host nginx
wait_for "http://127.0.0.1:$port/"
curl -s "http://127.0.0.1:$port/"
"$aril" ps
"$aril" stop web
say "done"
