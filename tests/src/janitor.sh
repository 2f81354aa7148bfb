# Called with the directory of a fixture and the instance of its broker; waits until the
# test is over, then removes both without a trace.
trap '' INT TERM HUP
base=$1
instance=$2
cat >/dev/null
if read -r pid <"$base/broker.pid" && [ "$(readlink "/proc/$pid/exe" | sed 's/.*\///; s/ .*//')" = rumi-broker ]; then
	kill -9 "$pid"
	while kill -0 "$pid"; do sleep 0.05; done
fi 2>/dev/null
# Again, because the engine goes on with a container that the broker had just asked for.
for _ in 1 2 3 4 5; do
	containers=$(docker ps --all --quiet --filter "label=rumi.instance=$instance")
	[ -n "$containers" ] || break
	docker rm --force $containers >/dev/null
done
images=$(docker images --quiet --filter "reference=rumi-pack:$instance-*" | sort -u)
[ -z "$images" ] || docker rmi --force $images >/dev/null
# Innermost first: a directory is busy for as long as something is mounted below it.
awk -v base="$base/" 'index($5, base) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r point; do
	umount -l "$point"
done
case $base in
/tmp/rumi-test-*) rm -rf --one-file-system "$base" ;;
esac
[ -s "$base.janitor.log" ] || rm -f "$base.janitor.log"
