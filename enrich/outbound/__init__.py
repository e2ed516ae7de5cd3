"""What goes out: URLs that are fetched and webhooks that are posted, to public addresses only."""

from enrich.outbound.allowlist import AllowList
from enrich.outbound.courier import Courier, Deliveries, Delivery
from enrich.outbound.fetch import Fetched, Fetcher, Limits
from enrich.outbound.targets import Target, check_url
from enrich.outbound.webhooks import Poster, sign

__all__ = [
    "AllowList",
    "Courier",
    "Deliveries",
    "Delivery",
    "Fetched",
    "Fetcher",
    "Limits",
    "Poster",
    "Target",
    "check_url",
    "sign",
]
