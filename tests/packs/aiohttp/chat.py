"""Says something to a WebSocket and hears what comes back."""

import asyncio

import aiohttp


async def chat(url, messages):
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        heard = []
        for message in messages:
            await socket.send_str(message)
            heard.append(await socket.receive_str(timeout=20))
        return heard


def run(args):
    return {"heard": asyncio.run(chat(args["url"], args["messages"]))}
