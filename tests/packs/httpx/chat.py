"""Says something to a WebSocket and hears what comes back."""

from websockets.sync.client import connect


def run(args):
    with connect(args["url"]) as socket:
        heard = []
        for message in args["messages"]:
            socket.send(message)
            heard.append(socket.recv(timeout=20))
        return {"heard": heard}
