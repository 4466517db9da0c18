#!/bin/sh
# Takes images to a machine that has no network: packs them into one file with a list and a digest, and unpacks them there.
#
#   ship-image.sh pack FILE IMAGE...
#   ship-image.sh unpack FILE
#   ship-image.sh flatten IMAGE NEW
set -e

case $1 in
  pack)
    file=$2
    shift 2
    for image; do
      docker image inspect --format '{{.Id}} {{index .RepoTags 0}}' "$image"
    done > "$file.list"
    docker save "$@" | gzip -1 > "$file"
    (cd "$(dirname "$file")" && sha256sum "$(basename "$file")" > "$(basename "$file").sha256")
    ;;
  unpack)
    (cd "$(dirname "$2")" && sha256sum -c --quiet "$(basename "$2").sha256")
    docker load < "$2" | sed -n 's/^Loaded image: //p'
    while read -r id tag; do
      test "$(docker images --no-trunc --quiet "$tag")" = "$id" || {
        echo "$tag is not what was packed" >&2
        exit 5
      }
    done < "$2.list"
    ;;
  flatten)
    container=$(docker create "$2" true)
    # Settings that an archive of files does not have.
    mode=$(docker inspect -f '{{range .Config.Env}}{{if eq . "MODE=shipped"}}{{.}}{{end}}{{end}}' "$2")
    docker export "$container" | docker import \
      --change "CMD $(docker inspect -f '{{json .Config.Cmd}}' "$2")" \
      ${mode:+--change "ENV $mode"} \
      --message "flat form of $2" - "$3"
    docker rm "$container" > /dev/null
    echo "$(docker history -q "$2" | wc -l) -> $(docker history -q "$3" | wc -l)"
    ;;
esac
