[ -n "$ARG_NAME" ] || { echo "no name" >&2; exit 2; }
printf '{"greeting": "Hello, %s!", "file": "%s"}' "$ARG_NAME" "$0" >&3
