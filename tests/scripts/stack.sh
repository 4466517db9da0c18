#!/bin/bash
# Several containers that belong together, without compose: a store, two workers of an application, and what is in front.
#
#   stack.sh up|down|status
set -eu

project=${PROJECT:-shop}
label=stack.project=$project
network=${project}_default

in_stack() { docker ps "$@" --filter "label=$label"; }

service() {
  local name=$1
  shift
  if [ "$(docker ps -aqf "name=^${project}_$name\$")" ]; then
    docker start "${project}_$name" > /dev/null
  else
    docker run -d --name "${project}_$name" --hostname "$name" --label "$label" --label "stack.service=$name" \
      --network "$network" --network-alias "${name%%_*}" --restart unless-stopped "$@" > /dev/null
  fi
  echo "$name is up"
}

up() {
  docker network inspect "$network" > /dev/null 2>&1 || docker network create --label "$label" "$network" > /dev/null
  docker volume create --label "$label" "${project}_data" > /dev/null
  service store -v "${project}_data:/srv" --env-file settings.env busybox \
    sh -c 'echo "$GREETING from the store" > /srv/index.html; exec httpd -f -p 80 -h /srv'
  for number in 1 2; do
    service "app_$number" --env STORE=store --expose 8080 busybox \
      sh -c 'mkdir /www; hostname > /www/name; while ! wget -qO /www/index.html "http://$STORE/"; do sleep 0.1; done; exec httpd -f -p 8080 -h /www'
  done
  service front -p 127.0.0.1::8000 busybox nc -ll -p 8000 -e \
    sh -c 'read -r line; echo "HTTP/1.0 200 OK"; echo; wget -qO - http://app:8080/'
}

down() {
  in_stack -aq | xargs -r docker rm -f -v > /dev/null
  docker network ls -qf "label=$label" | xargs -r docker network rm > /dev/null
  if [ "${1-}" = -v ]; then
    docker volume rm $(docker volume ls -qf "label=$label") > /dev/null
  fi
}

status() {
  in_stack -a --format 'table {{.Names}}\t{{.State}}\t{{.Label "stack.service"}}'
  docker network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{println}}{{end}}' "$network" | sort
  docker port "${project}_front" 8000/tcp
}

case ${1-} in
  up | status) "$1" ;;
  down) shift; down "$@" ;;
  *) echo "usage: stack.sh up|down|status" >&2; exit 64 ;;
esac
