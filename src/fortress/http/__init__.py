"""The HTTP face: what a domain's rest.py needs, and nothing else."""

from fortress.http.answers import Accepted, Answer, Created, Headed, SeeOther
from fortress.http.bulk import Results, each
from fortress.http.inputs import Input
from fortress.http.pages import Listing
from fortress.http.patches import Patch
from fortress.http.request import Request
from fortress.http.routes import Route, delete, get, minutes, patch, post, put
from fortress.http.streams import Feed, Happening, Lines
from fortress.http.versions import Past
from fortress.limits.policy import Limit, per_hour, per_minute, per_second, strict
from fortress.security.permissions import PUBLIC

__all__ = [
    "PUBLIC",
    "Accepted",
    "Answer",
    "Created",
    "Feed",
    "Happening",
    "Headed",
    "Input",
    "Limit",
    "Lines",
    "Listing",
    "Past",
    "Patch",
    "Request",
    "Results",
    "Route",
    "SeeOther",
    "delete",
    "each",
    "get",
    "minutes",
    "patch",
    "per_hour",
    "per_minute",
    "per_second",
    "post",
    "put",
    "strict",
]
