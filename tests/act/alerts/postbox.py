"""A mail server in a process of its own: `python postbox.py LOG PORT ANSWER…`.

Every mail that is taken in is a line of LOG: recipients and text. The n-th session goes by the n-th ANSWER, and the last one
by all after it: `ok`, `busy` (451 after the text), `never` (554 after the text), `lost` (the text is taken in and the
connection torn before the answer), `greylist:ADDRESS` (450 for that recipient), `unknown:ADDRESS` (550 for that recipient),
`noauth` (535 at login), `hang` (no greeting). Prints the port when it listens.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import sys
from pathlib import Path

SESSIONS = itertools.count()


async def session(log, answers, reader, writer):
    word, _, about = answers[min(next(SESSIONS), len(answers) - 1)].partition(":")

    async def say(line):
        writer.write(line.encode() + b"\r\n")
        await writer.drain()

    async def text():
        lines = []
        while (line := await reader.readline()) not in (b".\r\n", b""):
            lines.append(line.decode())
        return "".join(lines)

    if word == "hang":
        await asyncio.sleep(60)
    await say("220 postbox")
    recipients = []
    while line := (await reader.readline()).decode().strip():
        verb = line.split()[0].upper()
        if verb == "EHLO":
            await say("250-postbox")
            await say("250 AUTH PLAIN LOGIN")
        elif verb == "AUTH":
            await say("535 no such user" if word == "noauth" else "235 welcome")
        elif verb == "RCPT":
            to = line.partition("<")[2].partition(">")[0]
            refusal = {"greylist": "450 come back later", "unknown": "550 no such user"}.get(word)
            if refusal and to == about:
                await say(f"{refusal} <{to}>")
            else:
                recipients.append(to)
                await say("250 ok")
        elif verb == "DATA":
            await say("354 go on")
            said = await text()
            if word in ("busy", "never"):
                await say("451 busy" if word == "busy" else "554 never")
                continue
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"to": recipients, "text": said}) + "\n")
            recipients = []
            if word == "lost":
                writer.transport.abort()
                return
            await say("250 taken in")
        elif verb == "QUIT":
            await say("221 bye")
            break
        else:
            await say("250 ok")
    writer.close()


async def main(log, port, *answers):
    serve = functools.partial(session, Path(log), answers)
    server = await asyncio.start_server(serve, "127.0.0.1", int(port))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
