"""Ways out to a network. The addresses belong to nobody (RFC 5737) or to every machine alike."""

import errno
import os
import socket
import urllib.request

from . import attempt, tried

# Of the ranges for documentation, the cloud's metadata, the engine's bridge.
PLACES = (
    ("192.0.2.1", 443),
    ("198.51.100.1", 80),
    ("169.254.169.254", 80),
    ("172.17.0.1", 2375),
    ("2001:db8::1", 443),
)

SECONDS = 1


def connect_out(args):
    """Connects to addresses outside; `target` names another as HOST:PORT."""
    places = PLACES
    if "target" in args:
        host, port = args["target"].rsplit(":", 1)
        places = ((host, int(port)),)
    return tried({f"{host} {port}": attempt(lambda place=(host, port): connect(place)) for host, port in places})


def connect(place):
    with socket.create_connection(place, timeout=SECONDS):
        return "connected"


def send_datagrams(args):
    """Sends single packets, which need no answer to carry something out."""
    return tried({f"{host} {port}": attempt(lambda place=(host, port): send(place)) for host, port in PLACES})


def send(place):
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"misbehaving", place)


def resolve_names(args):
    """Asks for the address of a name, which alone can carry something out."""

    def resolve():
        try:
            return sorted({str(found[4][0]) for found in socket.getaddrinfo("example.com", 443)})
        except socket.gaierror as error:
            raise OSError(errno.EHOSTUNREACH, str(error)) from error

    return tried({"example.com": attempt(resolve)})


def list_interfaces(args):
    """Lists the network interfaces; achieved where there is one besides the loopback."""
    names = sorted(name for _, name in socket.if_nameindex())
    return {"achieved": names != ["lo"], "interfaces": names}


def list_abstract_sockets(args):
    """Lists the sockets without files, which no file right protects; those of the host would be a way out."""
    with open("/proc/net/unix") as table:
        names = sorted({line.split()[-1] for line in table if "@" in line})
    # The guest's own, by which questions for names come to the workers.
    return {"achieved": any(name != "@rumi-names" for name in names), "sockets": names}


def use_proxies(args):
    """Goes out by any proxy of the environment: the guest's own leads to the broker, which refuses."""
    found = sorted({value for name, value in os.environ.items() if name.lower().endswith("s_proxy")})

    def use(proxy, url):
        handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy})
        try:
            return urllib.request.build_opener(handler).open(url, timeout=SECONDS).status
        except OSError as error:
            raise OSError(errno.EACCES, str(error)) from error

    urls = ("http://example.com/", "https://example.com/", "http://169.254.169.254/")
    return tried({f"{url} by {n}": attempt(lambda by=p, to=url: use(by, to)) for n, p in enumerate(found) for url in urls})


MISDEEDS = {
    misdeed.__name__: misdeed
    for misdeed in (
        connect_out,
        send_datagrams,
        resolve_names,
        list_interfaces,
        list_abstract_sockets,
        use_proxies,
    )
}
