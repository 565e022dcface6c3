"""Where what we send may go: to nobody in our own network, whoever asks for it. Pure."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

#: Characters that a URL has at most.
URL_MAX = 1_000
#: Ranges of IPv6 that hold an IPv4 address in their last 32 bits, and that lead nowhere public by themselves.
_NAT64 = IPv6Network("64:ff9b::/96")
_NOWHERE = (IPv6Network("::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"), IPv6Network("2001::/23"))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; ValueError when it is none."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return ip.is_global and not ip.is_multicast and not ip.is_reserved
    inner = _inner(ip)
    if inner is not None:
        return is_public(str(inner))
    if any(ip in network for network in _NOWHERE):
        return False
    return ip.is_global and not ip.is_multicast


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that one of IPv6 leads to."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour


def trouble(url: str, *, private: bool) -> str | None:
    """What is wrong with a URL to send to, as far as the URL itself says; None for nothing.

    `private`: it may be a private address, and http. What a name leads to is looked at when it is connected to.
    """
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return f"is a URL of at most {URL_MAX} characters of ASCII"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is a URL such as https://example.com/hook"
    if parts.scheme not in (("https", "http") if private else ("https",)) or not host:
        return "is a URL that begins with https://"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "is a URL without a user, a password and a fragment"
    if not private and not _may_be_public(host):
        return "is a URL of the public internet"
    return None


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        name = host.rstrip(".").lower()
        above, _, last = name.rpartition(".")
        # What ends in a number is an IPv4 address to many a program, however it is written: 127.1, 0x7f.0.0.1.
        return bool(above) and last[:1].isalpha() and last not in ("localhost", "local", "internal")
