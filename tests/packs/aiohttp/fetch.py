"""Fetches pages, all at the same time."""

import asyncio

import aiohttp


async def fetch(session, url):
    async with session.get(url) as response:
        return {"status": response.status, "text": await response.text()}


async def fetch_all(urls):
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return await asyncio.gather(*(fetch(session, url) for url in urls))


def run(args):
    return {"pages": asyncio.run(fetch_all(args["urls"]))}
