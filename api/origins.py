"""Where a request comes from, as far as a browser tells."""

from urllib.parse import urlsplit

from starlette.requests import Request

from api.errors import ApiError


def require_same_origin(request: Request, *, stated: bool) -> None:
    """Refuse a request that a page of another site makes a browser send.

    Args:
        request: The request, whose `Sec-Fetch-Site` or `Origin` is looked at.
        stated: Refuse also when it states neither, as no current browser would.

    Raises:
        ApiError: `cross_site_request`.
    """
    fetch_site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if fetch_site is not None:
        same = fetch_site in {"same-origin", "none"}
    elif origin is not None:
        same = urlsplit(origin).netloc == request.headers.get("host")
    else:
        same = not stated
    if not same:
        raise ApiError("cross_site_request")
