#!/bin/sh
# A web server on a published port, for real: nginx is installed from Debian inside a container on the default bridge, the
# container becomes an image, and a container of that serves under load without one failed request.
#
#   examples/serve-with-nginx.sh [ARIL]        as root; ARIL is the command (default: aril)
#
# Needs debootstrap, wrk and a Debian mirror that the host can reach; MIRROR and SUITE choose which, PORT the port (8080).
# Everything that it makes is removed again, except the default network's bridge.
set -eu
aril=${1:-aril}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
port=${PORT:-8080}
seconds=${SECONDS_OF_LOAD:-10}
for program in debootstrap wrk; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install $program" >&2; exit 1; }
done

work=$(mktemp -d)
clean() {
  "$aril" rm -f base site >/dev/null 2>&1 || true
  "$aril" rmi -f debian-nginx:1.0 debian:base >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. a Debian root, and an image of it"
debootstrap --variant=minbase "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
tar -C "$work/root" -c . | "$aril" import -c 'CMD ["bash"]' - debian:base

say "2. install nginx in a container: its packets go out by the bridge"
"$aril" run -d -it --name base debian:base
"$aril" exec base sh -c "echo 'deb $mirror $suite main' > /etc/apt/sources.list && apt-get update -qq"
"$aril" exec -e DEBIAN_FRONTEND=noninteractive base apt-get install -y -qq --no-install-recommends nginx >"$work/log" 2>&1 ||
  { tail "$work/log" >&2; exit 1; }
"$aril" exec base nginx -v
"$aril" exec base sh -c 'echo "from a container" > /var/www/html/index.html'
"$aril" commit -c 'CMD ["nginx", "-g", "daemon off;"]' -c 'EXPOSE 80' base debian-nginx:1.0

say "3. a container of it, on port $port of the host"
"$aril" run -d --name site -p "$port:80" debian-nginx:1.0
"$aril" port site
own=$("$aril" inspect -f '{{.NetworkSettings.IPAddress}}' site)

say "4. under load, by each way that leads to it"
# What wrk could not connect, read, write or wait for, and answers that are none of success.
load() {
  wrk -t 2 -c 50 -d "$seconds" "http://$1/" >"$work/wrk"
  grep -E 'Requests/sec|requests in' "$work/wrk"
  if grep -E 'Socket errors|Non-2xx' "$work/wrk"; then
    echo "requests to $1 have failed" >&2
    exit 1
  fi
}
"$aril" exec site sh -c 'until [ -s /run/nginx.pid ]; do sleep 0.1; done'
for address in "127.0.0.1:$port" "$own:80" "$(hostname -I | cut -d ' ' -f 1):$port"; do
  echo "$address"
  load "$address"
done

say "5. it has served them all, and ends when it is asked to"
"$aril" exec site sh -c 'grep -c . /var/log/nginx/access.log; grep -cv " 200 " /var/log/nginx/access.log || true'
"$aril" stop site
"$aril" inspect -f '{{.State.ExitCode}}' site
say "done"
