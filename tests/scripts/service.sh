#!/bin/sh
# A container as a service of an init system: start, stop, reload, status, with the exit codes of LSB.
#
#   service.sh start|stop|restart|reload|status|console
NAME=${NAME:-daemon}
IMAGE=${IMAGE:-busybox}
PIDFILE=${PIDFILE:-/run/$NAME.pid}
COMMAND=${COMMAND:-"trap 'echo reloaded' HUP; trap 'echo bye; exit 0' TERM; echo started; while :; do sleep 0.1; done"}

running() { [ "$(docker inspect -f '{{.State.Running}}' "$NAME" 2>/dev/null)" = "true" ]; }

start() {
  running && return 0
  docker rm "$NAME" >/dev/null 2>&1
  docker run --detach --name "$NAME" --stop-timeout 20 --stop-signal SIGTERM \
    --ulimit nofile=1024:2048 --sysctl net.core.somaxconn=99 --add-host db:192.0.2.7 --dns 192.0.2.53 \
    "$IMAGE" sh -c "$COMMAND" >/dev/null || return 1
  docker inspect --format '{{.State.Pid}}' "$NAME" > "$PIDFILE"
}

stop() {
  running || return 0
  docker stop "$NAME" >/dev/null && rm -f "$PIDFILE"
}

case "$1" in
  start) start ;;
  stop) stop ;;
  restart) stop && start ;;
  reload) running || exit 7; docker kill --signal=HUP "$NAME" >/dev/null ;;
  status)
    if running; then
      echo "$NAME ($(cat "$PIDFILE")) is running since $(docker inspect -f '{{.State.StartedAt}}' "$NAME" | cut -c1-10)"
    else
      code=$(docker inspect -f '{{.State.ExitCode}}' "$NAME" 2>/dev/null) || { echo "$NAME is unknown"; exit 4; }
      echo "$NAME has ended with $code"
      exit 3
    fi
    ;;
  console)
    # As a unit's ExecStart does it: in front, with the signals of the init system passed on.
    docker rm -f "$NAME" >/dev/null 2>&1
    docker create --name "$NAME" "$IMAGE" sh -c "$COMMAND" >/dev/null
    exec docker start -a "$NAME"
    ;;
  *) echo "usage: service.sh start|stop|restart|reload|status|console" >&2; exit 2 ;;
esac
