"""Somebody who is logged in, for as long as it takes."""

import asyncio


class Account:
    """`token` is good for minutes and is sent with each request; `renewal_token` is good once, and gives the next two.

    Without a renewal token the account is what it is until its token is over. `lock`: whoever renews it.
    """

    def __init__(self, user: str, token: str, renewal_token: str = "") -> None:
        self.user, self.token, self.renewal_token = user, token, renewal_token
        self.lock = asyncio.Lock()
