#!/bin/bash
# Back to an empty engine, as many a "reset" script does it; asks first unless told otherwise.
[ "${1-}" = -y ] || { read -r -p "Remove ALL containers, images, volumes and networks? [y/N] " answer; [[ $answer == [yY] ]] || exit 1; }

docker stop -t 1 $(docker ps -q) 2> /dev/null || true
docker rm -f $(docker ps -a -q) 2> /dev/null || true
docker rmi -f $(docker images -q) 2> /dev/null || true
docker volume rm -f $(docker volume ls -q) 2> /dev/null || true
docker network rm $(docker network ls --filter type=custom -q) 2> /dev/null || true
docker network ls --format '{{.Name}}' | grep -vE '^(bridge|host|none)$' | xargs -r -n1 docker network rm
docker system prune --all --force --volumes

echo "$(docker ps -aq | wc -l) containers, $(docker images -q | wc -l) images, $(docker volume ls -q | wc -l) volumes"
