# What one call could find of another, or leaves for it.
look() {
    file=false; [ -e /tmp/left ] && file=true
    # Not in a shell below this one: this one may still be closing its end of the pipe then.
    fds=0
    for fd in /proc/$$/fd/*; do [ "${fd##*/}" -gt 2 ] && fds=$((fds + 1)); done
    processes=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -c 'sleep 60[0]')
    printf '{"global": ["%s"], "file": %s, "environment": "%s", "threads": %d, "descriptors": %d, "directory": "%s", "processes": %d}' \
        "$COUNT" "$file" "$LEFT" "$(ls /proc/$$/task | wc -l)" "$fds" "$PWD" "$processes"
}

case $ARG_OP in
look) look >&3 ;;
leave)
    look >&3
    COUNT=1
    export LEFT=left
    echo left >/tmp/left
    cd /tmp || exit
    exec 9</tmp/left
    trap 'sleep 600' EXIT
    /bin/sh -c 'sleep 600 & sleep 600' >/dev/null 2>&1 &
    trap - EXIT
    ;;
settings) printf '["%s", "%s", "%s"]' "$COLOUR" "$PWD" "$(cat where.txt)" >&3 ;;
print) echo to stdout; echo to stderr >&2 ;;
fail) echo because >&2; exit 7 ;;
exit) kill -KILL $$ ;;
missing) no_such_program ;;
"last words")
    echo "said on stdout"
    echo "said on stderr" >&2
    while :; do :; done
    ;;
spin) while :; do :; done ;;
hoard) hoard=x; while :; do hoard=$hoard$hoard; done ;;
flood)
    for _ in {1..300}; do
        printf '%016384d' 0
        printf '%016384d' 0 >&2
    done
    cat >&3
    ;;
raw) printf '%s' "$ARG_TEXT" >&3 ;;
*) cat >&3 ;;
esac
