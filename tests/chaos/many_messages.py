"""A stream of very many messages, of which some are bad."""

from __future__ import annotations

import asyncio
import random

import grpc
from grpc import StatusCode

from chaos.answers import Answers
from chaos.client import OWN_CONNECTION, PATIENCE
from chaos.judge import Judge
from chaos.questions import EMBED, Questions
from chaos.server import Server
from chaos.stream import Message, Stream
from chaos.tally import Tally

BAD_EVERY = 100


async def stream(server: Server, answers: Answers, *, messages: int, seed: int) -> Tally:
    """Send so many messages on one stream, one in a hundred of them bad.

    Raises:
        AssertionError: the stream did not end well.
    """
    judge = Judge()
    questions = Questions(answers, random.Random(seed))  # noqa: S311  (no secret)
    sent = [
        Message.of(str(number), questions.streamed(EMBED))
        if number % BAD_EVERY
        else Message.of(str(number), questions.bad(EMBED))
        for number in range(messages)
    ]
    async with grpc.aio.insecure_channel(server.address, options=OWN_CONNECTION) as channel:
        one = Stream(channel, EMBED, judge)
        writing = asyncio.create_task(one.write(sent))
        await one.read(None, patience=PATIENCE)
        await writing
        assert one.code == StatusCode.OK, one.code
        one.close()
    return judge.tally
