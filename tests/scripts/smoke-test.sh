#!/bin/bash
# Tests a server in a container from outside: on a port that is free, once its log says that it is ready.
#
#   smoke-test.sh IMAGE COMMAND...
set -euo pipefail

image=$1
shift
start=$(date +%s)
container=$(docker run -d -p 127.0.0.1:0:80 "$image" "$@")
trap 'docker logs "$container" > server.log 2>&1; docker kill "$container" > /dev/null 2>&1 || :; docker rm "$container" > /dev/null' EXIT

# By a follower, which is left to end with the container.
(timeout 30 docker logs -f "$container" 2>&1 &) | grep -q -m1 'ready'

# Once more, as others do it.
retry() {
  local count=$1
  shift
  until "$@"; do
    ((count-- > 0)) || return 1
    sleep 0.1
  done
}
is_ready() { docker logs --since "$start" --timestamps "$container" 2>&1 | grep -Eq '^[0-9T:.-]+Z .*ready'; }
retry 50 is_ready

port=$(docker port "$container" 80/tcp | head -n1 | cut -d: -f2)
also=$(docker inspect --format='{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}' "$container")
[ "$port" = "$also" ]
address=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$container")

fetch() { exec 3<> "/dev/tcp/$1/$2"; printf 'GET /%s HTTP/1.0\r\n\r\n' "${3-}" >&3; cat <&3; exec 3>&-; }
fetch 127.0.0.1 "$port" | grep -q 'it works'
fetch "$address" 80 | grep -q 'it works'
fetch 127.0.0.1 "$port" nosuch | head -n1 | grep -q 404
docker exec "$container" sh -c 'kill -0 1'
docker top "$container" -o pid,comm | grep -q httpd
echo "ok on $address"
