"""Which addresses are of the public internet."""

import ipaddress

import pytest

from enrich.outbound.addresses import is_public, plain

PUBLIC = """
    1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0
    198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 192.167.255.255 11.0.0.0 126.255.255.255 128.0.0.0
    2606:4700:4700::1111 2a00:1450:4001:81b::200e 2001:200::1 2003::1 240e::1 3ffe:ffff::1 2620:fe::fe
    ::ffff:8.8.8.8 64:ff9b::8.8.8.8 64:ff9b::808:808
"""

CLOSED = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1
    127.255.255.254 168.63.129.16 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192
    192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
    224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:a9fe:a9fe ::ffff:0:127.0.0.1
    64:ff9b::127.0.0.1 64:ff9b::10.1.2.3 64:ff9b::a9fe:a9fe 64:ff9b:1::8.8.8.8 64:ff9b:1::1
    100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:db8::1
    2002:7f00:1:: 2002:a00:1:: 2002:808:808::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1
    ff0e::1 4000::1 fe80::1%eth0 fe80::1%25eth0 2606:4700::1%1 2a00:1450::5efe:10.0.0.1
    2a00:1450::200:5efe:192.168.0.1
"""

NONE = [
    "",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "[::1]",
    "1.2.3.4.5",
    "::1::",
    " 8.8.8.8",
]


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", CLOSED.split())
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_address_is_never_public(text: str) -> None:
    assert plain(text) is None
    assert not is_public(text)


def test_whatever_python_calls_private_is_not_public() -> None:
    networks = [*range(0, 256, 1)]
    for first in networks:
        for rest in ("0.0.1", "64.0.1", "168.0.9", "254.1.2", "63.129.16", "0.113.7", "51.100.9", "18.0.1"):
            address = ipaddress.ip_address(f"{first}.{rest}")
            if not address.is_global or address.is_multicast:
                assert not is_public(str(address)), address


def test_an_address_has_one_form() -> None:
    assert str(plain("::FFFF:7F00:1")) == "127.0.0.1"
    assert str(plain("2001:0DB8:0:0::1")) == "2001:db8::1"
