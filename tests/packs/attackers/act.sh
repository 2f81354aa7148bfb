# Misdeeds by name. What is left behind lives no longer than a minute, walls or not.

answer() {
    printf '{"achieved": %s}' "$1" >&3
}

# Says whether the command could be done.
attempt() {
    if "$@" 2>/dev/null; then answer true; else answer false; fi
}

fill() {
    attempt dd if=/dev/zero of="$1" bs=1M count="${ARG_AMOUNT:-1024}"
}

pour() {
    head -c "${ARG_AMOUNT}M" /dev/zero | tr '\0' x
}

others() {
    done=false
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        [ "$pid" = $$ ] && continue
        "$1" "$pid" 2>/dev/null && done=true
    done
    answer $done
}

open_memory() {
    exec 9<>"/proc/$1/mem"
}

kill_one() {
    kill -KILL "$1"
}

next() {
    while [ $SECONDS -lt 60 ]; do sleep 0.01; next & return; done
}

recurse() {
    recurse
}

case $ARG_MISDEED in
fork_bomb) bomb() { bomb | bomb & }; bomb; sleep 60 ;;
leave_zombies)
    # Those that end are not waited for by the one that started them, which has become another program.
    bash -c 'for n in {1..40}; do sleep 0.2 & done; exec sleep 60' >/dev/null 2>&1 3>&- &
    sleep 0.6
    answer true
    ;;
eat_memory) hoard=x; while :; do hoard=$hoard$hoard; done ;;
eat_memory_in_children) for _ in {1..8}; do tail /dev/zero & done; wait; answer true ;;
fill_tmp) fill /tmp/filled ;;
fill_shared_memory) fill /dev/shm/filled ;;
fill_workspace) fill /workspace/filled; rm -f /workspace/filled ;;
print_much) pour; answer true ;;
print_errors) pour >&2; answer true ;;
burn_all_processors)
    for _ in {1..8}; do timeout 1 bash -c 'while :; do :; done' & done
    wait
    answer true
    ;;
ignore_signals)
    for signal in {1..64}; do trap '' "$signal" 2>/dev/null; done
    sleep 60
    ;;
spin) while :; do :; done ;;
leave_daemon)
    (trap '' TERM HUP INT; setsid sleep 60 & setsid bash -c 'sleep 60 & sleep 60' &) >/dev/null 2>&1 3>&-
    answer true
    ;;
leave_respawners) for _ in {1..8}; do next >/dev/null 2>&1 3>&- & done; answer true ;;
open_many)
    opened=0
    while [ $opened -lt 100000 ] && { exec {last}</dev/null; } 2>/dev/null; do opened=$((opened + 1)); done
    # Saying so takes descriptors too.
    for ((n = last - 5; n <= last; n++)); do exec {n}<&-; done
    if [ $opened -lt 100000 ]; then answer false; else answer true; fi
    ;;
dump_core) cd /workspace || exit; ulimit -c unlimited 2>/dev/null; kill -ABRT $$ ;;
kill_parent) attempt kill -KILL $PPID ;;
kill_everything) others kill_one ;;
write_processes) others open_memory ;;
hang_at_exit) trap 'sleep 60' EXIT; answer true ;;
return_nothing) ;;
return_broken) printf '{"a": ' >&3 ;;
return_huge) pour >&3 ;;
recurse) recurse ;;
leave) exit 3 ;;
crash) kill -SEGV $$ ;;
esac
