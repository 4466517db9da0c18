#!/bin/sh
# Runs a command of a project's tool chain in a container, as the caller, on the caller's files.
#
#   dev-shell.sh [COMMAND...]
set -eu

image=${DEV_IMAGE:-project-tools:1}
top=$(cd "$(dirname "$0")" && pwd)

if ! command -v docker >/dev/null; then
  echo "docker is needed" >&2
  exit 127
fi

if ! docker image inspect "$image" >/dev/null 2>&1; then
  echo "making $image, once" >&2
  made=$(docker create busybox sh -c 'echo tools:x:1234: >> /etc/group; echo "tools 1" > /etc/tools-release')
  docker start -a "$made" >&2
  docker commit \
    --change 'ENV TOOLS=yes PATH=/opt/tools:/bin' \
    --change 'LABEL purpose="tool chain"' \
    --change 'ENTRYPOINT ["/bin/busybox", "env", "IN_CONTAINER=1"]' \
    --change 'CMD ["sh"]' "$made" "$image" >/dev/null
  docker rm "$made" >/dev/null
fi

terminal=-i
[ -t 0 ] && [ -t 1 ] && terminal=-it

exec docker run --rm $terminal --init \
  --user "$(id -u):$(id -g)" --group-add 1234 \
  -e HOME=/tmp -e TERM ${EDITOR:+-e "EDITOR=$EDITOR"} \
  -v "$top:$top" -v /etc/localtime:/etc/localtime:ro \
  --workdir "$PWD" \
  "$image" "$@"
